package llm

import "net/http"

// Verdict is what an answer means for the call that it answers.
type Verdict uint8

const (
	// Deliver hands the answer to the caller: it succeeded, or no retry helps.
	Deliver Verdict = iota
	// Transient is a fault of the server, for which the caller's limits are not to blame: it is tried again after a pause
	// of this call alone.
	Transient
	// Limited is a rate limit's refusal: everybody who uses the limit pauses, and the call is tried again.
	Limited
)

// JudgeStatus judges by status alone, where nothing is known of the body: 429 is a rate limit; 408 (timeout), 409 (lock),
// 500 and above, except what the server can never do (501, 505), may pass. The header x-should-retry decides if it is
// there, as it does in the official SDKs.
func JudgeStatus(status int, h http.Header) Verdict {
	if status < 400 || h.Get("x-should-retry") == "false" {
		return Deliver
	}
	switch {
	case status == http.StatusTooManyRequests:
		return Limited
	case h.Get("x-should-retry") == "true",
		status == http.StatusRequestTimeout, status == http.StatusConflict,
		status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported:
		return Transient
	}
	return Deliver
}
