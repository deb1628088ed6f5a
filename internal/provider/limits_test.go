package provider

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// errorBody is an OpenAI error answer as a client reads it.
type errorBody struct {
	Error struct {
		Message, Type string
		Param, Code   *string
	}
}

func TestRefusalStatesTheExactWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{Default: Limits{RequestsPerMinute: 10, TokensPerMinute: 30000}})
		body := chatBody("hello", `,"max_tokens":10`)
		for range 10 {
			wantStatus(t, call(t, p, "/v1/chat/completions", body), http.StatusOK)
		}
		res := call(t, p, "/v1/chat/completions", body)
		wantStatus(t, res, http.StatusTooManyRequests)
		wantHeader(t, res, "retry-after", "6")
		wantHeader(t, res, "retry-after-ms", "6000")
		wantHeader(t, res, "x-ratelimit-limit-requests", "10")
		wantHeader(t, res, "x-ratelimit-remaining-requests", "0")
		wantHeader(t, res, "x-ratelimit-reset-requests", "1m0s")
		wantHeader(t, res, "content-type", "application/json")
		var e errorBody
		decode(t, res, &e)
		if want := "Rate limit reached for gpt-4o in organization org-simulated on requests per min (RPM): Limit 10, Used 10, " +
			"Requested 1. Please try again in 6s. Visit https://platform.openai.com/account/rate-limits to learn more."; e.Error.Message != want {
			t.Errorf("message %q, want %q", e.Error.Message, want)
		}
		if e.Error.Type != "requests" || e.Error.Code == nil || *e.Error.Code != "rate_limit_exceeded" || e.Error.Param != nil {
			t.Errorf("error %+v, want type requests, code rate_limit_exceeded, no param", e.Error)
		}

		time.Sleep(6*time.Second - time.Millisecond)
		res = call(t, p, "/v1/chat/completions", body)
		wantStatus(t, res, http.StatusTooManyRequests)
		wantHeader(t, res, "retry-after", "1")
		wantHeader(t, res, "retry-after-ms", "1")
		time.Sleep(time.Millisecond)
		wantStatus(t, call(t, p, "/v1/chat/completions", body), http.StatusOK)

		s := p.Stats()["gpt-4o"]
		if s.Accepted != 11 || s.Rejected429["requests/minute"] != 2 || s.Rejected() != 2 {
			t.Errorf("stats %+v, want 11 accepted and 2 refused by requests/minute", s)
		}
		if s.DistinctBodies != 1 || s.DistinctRequestIDs != 11 || s.Span != 6 {
			t.Errorf("stats %+v, want 1 body, 11 ids, a span of 6 s", s)
		}
	})
}

func TestTokensAreRefusedByTheEstimate(t *testing.T) {
	for _, tt := range []struct {
		name     string
		estimate Estimate
		more     string
		want     int64 // tokens charged at arrival; the prompt is 9
	}{
		{"sum", EstimateSum, `,"max_tokens":100`, 109},
		{"max_completion_tokens first", EstimateSum, `,"max_tokens":100,"max_completion_tokens":200`, 209},
		{"every choice", EstimateSum, `,"max_tokens":100,"n":3`, 309},
		{"default", EstimateSum, ``, 9 + defaultMaxOutput},
		{"maximum", EstimateMax, `,"max_tokens":100`, 100},
		{"maximum is the prompt", EstimateMax, `,"max_tokens":2`, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t, Config{Estimate: tt.estimate, Default: Limits{TokensPerMinute: 100_000}})
			wantStatus(t, call(t, p, "/v1/chat/completions", chatBody("hello", tt.more)), http.StatusOK)
			if got := p.Stats()["gpt-4o"].Charged.Tokens; got != tt.want {
				t.Errorf("charged %d tokens, want %d", got, tt.want)
			}
			if err := p.SetLimits("", Limits{TokensPerMinute: tt.want - 1}); err != nil {
				t.Fatal(err)
			}
			res := call(t, p, "/v1/chat/completions", chatBody("hello", tt.more))
			wantStatus(t, res, http.StatusTooManyRequests)
			wantHeader(t, res, "retry-after", "")
			wantHeader(t, res, "retry-after-ms", "")
			var e errorBody
			decode(t, res, &e)
			if want := fmt.Sprintf("Request too large for gpt-4o in organization org-simulated on tokens per min (TPM): Limit %d, "+
				"Requested %d. The input or output tokens must be reduced in order to run successfully. Visit "+
				"https://platform.openai.com/account/rate-limits to learn more.", tt.want-1, tt.want); e.Error.Message != want {
				t.Errorf("message %q, want %q", e.Error.Message, want)
			}
			if e.Error.Type != "tokens" {
				t.Errorf("type %q, want tokens", e.Error.Type)
			}
			if s := p.Stats()["gpt-4o"]; s.Rejected429["too_large"] != 1 {
				t.Errorf("stats %+v, want one too_large", s)
			}
		})
	}
}

func TestDailyLimitShowsWhereItIsTheTighter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{
			Minute:  time.Second,
			Default: Limits{RequestsPerMinute: 5, RequestsPerDay: 6, TokensPerMinute: 1000},
		})
		body := chatBody("hello", `,"max_tokens":10`)
		res := call(t, p, "/v1/chat/completions", body)
		wantHeader(t, res, "x-ratelimit-limit-requests", "5")
		wantHeader(t, res, "x-ratelimit-reset-requests", "200ms")
		time.Sleep(time.Second)
		for range 4 {
			res = call(t, p, "/v1/chat/completions", body)
		}
		wantHeader(t, res, "x-ratelimit-remaining-requests", "1")
		wantHeader(t, res, "x-ratelimit-limit-requests", "5")
		time.Sleep(time.Second)
		res = call(t, p, "/v1/chat/completions", body)
		// A day of 1,440 seconds gives one request back every 240 s.
		wantHeader(t, res, "x-ratelimit-limit-requests", "6")
		wantHeader(t, res, "x-ratelimit-remaining-requests", "0")
		res = call(t, p, "/v1/chat/completions", body)
		wantStatus(t, res, http.StatusTooManyRequests)
		wantHeader(t, res, "retry-after", "238")
		var e errorBody
		decode(t, res, &e)
		if want := "Rate limit reached for gpt-4o in organization org-simulated on requests per day (RPD): Limit 6, Used 6, " +
			"Requested 1. Please try again in 3m58s. Visit https://platform.openai.com/account/rate-limits to learn more."; e.Error.Message != want {
			t.Errorf("message %q, want %q", e.Error.Message, want)
		}
	})
}

func TestToleranceAdmitsWhatIsBarelyEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{Tolerance: 2 * time.Millisecond, Default: Limits{RequestsPerMinute: 1}})
		body := chatBody("hello", `,"max_tokens":10`)
		wantStatus(t, call(t, p, "/v1/chat/completions", body), http.StatusOK)
		time.Sleep(time.Minute - 3*time.Millisecond)
		wantStatus(t, call(t, p, "/v1/chat/completions", body), http.StatusTooManyRequests)
		time.Sleep(time.Millisecond)
		wantStatus(t, call(t, p, "/v1/chat/completions", body), http.StatusOK)
		if w := p.Stats()["gpt-4o"].Windows["requests/minute"]; w.Violations != 0 {
			t.Errorf("window %+v: what the tolerance admits is no violation", w)
		}
	})
}

func TestRefusedRequestsCostARequestWhereAsked(t *testing.T) {
	for _, charge := range []bool{false, true} {
		t.Run(strconv.FormatBool(charge), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(t, Config{ChargeRefused: charge, Default: Limits{RequestsPerMinute: 60}})
				body := chatBody("hello", `,"max_tokens":10`)
				for range 60 {
					wantStatus(t, call(t, p, "/v1/chat/completions", body), http.StatusOK)
				}
				for range 5 {
					wantStatus(t, call(t, p, "/v1/chat/completions", body), http.StatusTooManyRequests)
				}
				time.Sleep(time.Second)
				want := http.StatusOK
				if charge {
					want = http.StatusTooManyRequests
				}
				wantStatus(t, call(t, p, "/v1/chat/completions", body), want)
			})
		})
	}
}

func TestRequestBurstBoundsWhatComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{Default: Limits{RequestsPerMinute: 600, RequestBurst: 10}})
		body := chatBody("hello", `,"max_tokens":10`)
		for range 10 {
			wantStatus(t, call(t, p, "/v1/chat/completions", body), http.StatusOK)
		}
		res := call(t, p, "/v1/chat/completions", body)
		wantStatus(t, res, http.StatusTooManyRequests)
		wantHeader(t, res, "retry-after-ms", "100")
	})
}

func TestSetLimitsShowsInTheNextAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{
			Default: Limits{RequestsPerMinute: 100},
			Models:  map[string]Limits{"own": {RequestsPerMinute: 7}},
		})
		ask := func(model string) *http.Response {
			return call(t, p, "/v1/chat/completions",
				fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"x"}],"max_tokens":1}`, model))
		}
		wantHeader(t, ask("a"), "x-ratelimit-remaining-requests", "99")
		if err := p.SetLimits("", Limits{RequestsPerMinute: 10}); err != nil {
			t.Fatal(err)
		}
		res := ask("a")
		wantHeader(t, res, "x-ratelimit-limit-requests", "10")
		wantHeader(t, res, "x-ratelimit-remaining-requests", "8")
		wantHeader(t, ask("new"), "x-ratelimit-limit-requests", "10")
		wantHeader(t, ask("own"), "x-ratelimit-limit-requests", "7")
		if err := p.SetLimits("own", Limits{RequestsPerMinute: 70}); err != nil {
			t.Fatal(err)
		}
		wantHeader(t, ask("own"), "x-ratelimit-remaining-requests", "68")
		if err := p.SetLimits("a", Limits{}); err != nil {
			t.Fatal(err)
		}
		wantHeader(t, ask("a"), "x-ratelimit-limit-requests", "")
		if err := p.SetLimits("a", Limits{TokensPerDay: -1}); err == nil {
			t.Error("a negative limit was accepted")
		}
	})
}

func TestIdeal(t *testing.T) {
	for _, tt := range []struct {
		name             string
		limits           Limits
		minute           time.Duration
		requests, tokens int64
		want             time.Duration
	}{
		{"within the burst", Limits{RequestsPerMinute: 100, TokensPerMinute: 1000}, time.Minute, 100, 1000, 0},
		{"requests bind", Limits{RequestsPerMinute: 100, TokensPerMinute: 1000}, time.Minute, 200, 1100, time.Minute},
		{"tokens bind", Limits{RequestsPerMinute: 100, TokensPerMinute: 1000}, time.Minute, 110, 4000, 3 * time.Minute},
		{"short minute", Limits{RequestsPerMinute: 100}, time.Second, 250, 0, 1500 * time.Millisecond},
		{"a day", Limits{RequestsPerDay: 1440}, time.Minute, 1441, 0, time.Minute},
		{"a small burst", Limits{RequestsPerMinute: 60, RequestBurst: 10}, time.Minute, 70, 0, time.Minute},
		{"no limits", Limits{}, time.Minute, 1e9, 1e9, 0},
	} {
		if got := Ideal(tt.limits, tt.minute, tt.requests, tt.tokens); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	w := Work{Requests: 1, InputTokens: 300, OutputTokens: 500}
	if got := w.Ideal(Limits{InputTokensPerMinute: 100, OutputTokensPerMinute: 100}, time.Minute); got != 4*time.Minute {
		t.Errorf("input and output: %v, want 4m", got)
	}
}

// A client that waits exactly as told takes the ideal time, no less and no more.
func TestIdealIsReachedByAnExactClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{RequestsPerMinute: 60, TokensPerMinute: 1_000_000}
		p := newProvider(t, Config{Default: limits})
		start, sent := time.Now(), int64(0)
		for sent < 300 {
			res := call(t, p, "/v1/chat/completions", chatBody("hello", `,"max_tokens":10`))
			if res.StatusCode == http.StatusOK {
				sent++
				continue
			}
			ms, err := strconv.Atoi(res.Header.Get("retry-after-ms"))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(ms) * time.Millisecond)
		}
		if got, want := time.Since(start), Ideal(limits, time.Minute, sent, 0); got != want {
			t.Errorf("300 requests took %v, the ideal is %v", got, want)
		}
	})
}
