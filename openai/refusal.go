package openai

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// Permanent reports whether the code or the type of an error says that the account is at fault, its quota or its bill,
// and not the rate: no wait helps. Anything else is not, the empty text included.
//
// Source: OpenAI's error codes guide; billing_not_active and access_terminated: openai-python and forum reports.
func Permanent(codeOrType string) bool {
	switch codeOrType {
	case "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "access_terminated", "quota_exceeded":
		return true
	}
	return false
}

// tooLarge reads "Request too large for gpt-4o … on tokens per min (TPM): Limit 30000, Requested 36278."
var tooLarge = regexp.MustCompile(`Limit:? ([0-9]+),.*Requested:? ([0-9]+)`)

// judge decides what an answer's status and error mean for the call.
func judge(status int, h http.Header, answer llm.Reading) llm.Verdict {
	if Permanent(answer.ErrorCode) || Permanent(answer.ErrorType) {
		return llm.Deliver
	}
	if status == http.StatusTooManyRequests && NeverFits(answer.ErrorText) {
		return llm.Deliver
	}
	return llm.JudgeStatus(status, h)
}

// NeverFits reports whether the message of a 429's error says that the request is larger than the whole limit, so that it
// is never accepted ("Request too large for gpt-4o … Limit 30000, Requested 36278."). The same words with a request that
// the limit could hold only mean that it doesn't fit now.
//
// Source: OpenAI's error codes guide; UKGovernmentBEIS/inspect_ai#1396 for the latter.
func NeverFits(message string) bool {
	if !strings.HasPrefix(message, "Request too large") {
		return false
	}
	m := tooLarge.FindStringSubmatch(message)
	if m == nil {
		return true
	}
	limit, err1 := strconv.ParseFloat(m[1], 64)
	requested, err2 := strconv.ParseFloat(m[2], 64)
	return err1 == nil && err2 == nil && requested > limit
}
