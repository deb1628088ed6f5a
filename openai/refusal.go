package openai

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// permanent are the codes and types of a 429 that no wait helps against: the account, not the rate.
//
// Source: OpenAI's error codes guide; billing_not_active and access_terminated: openai-python and forum reports.
var permanent = map[string]bool{
	"insufficient_quota":         true,
	"billing_hard_limit_reached": true,
	"billing_not_active":         true,
	"access_terminated":          true,
	"quota_exceeded":             true,
}

// tooLarge reads "Request too large for gpt-4o … on tokens per min (TPM): Limit 30000, Requested 36278."
var tooLarge = regexp.MustCompile(`Limit:? ([0-9]+),.*Requested:? ([0-9]+)`)

// judge decides what an answer's status and error mean for the call.
func judge(status int, h http.Header, answer llm.Reading) llm.Verdict {
	if permanent[answer.ErrorCode] || permanent[answer.ErrorType] {
		return llm.Deliver
	}
	if status == http.StatusTooManyRequests && neverFits(answer.ErrorText) {
		return llm.Deliver
	}
	return llm.JudgeStatus(status, h)
}

// neverFits reports whether a refusal says that the request is larger than the whole limit. The same words with a smaller
// request only mean that it doesn't fit now.
func neverFits(message string) bool {
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
