package gemini

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/driver/memory"
)

const path = "/v1beta/models/gemini-2.5-flash:generateContent"

func newTransport(t *testing.T, limits Limits, handler http.HandlerFunc) (*Transport, func() (int, error)) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	tr := NewTransport(memory.New(), limits)
	tr.Host = u.Host
	client := &http.Client{Transport: tr}
	return tr, func() (int, error) {
		resp, err := client.Post(server.URL+path, "application/json", strings.NewReader(`{"contents":[{"parts":[{"text":"Why is the sky blue?"}]}]}`))
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	}
}

func answer(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"candidates":[{"content":{"parts":[{"text":"Scattering."}]}}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":2,"totalTokenCount":9}}`)
}

// The day's requests are used up at the limit, never beyond it, and there are as many again after midnight in California.
func TestDayEndsAtMidnightPacific(t *testing.T) {
	now := time.Date(2026, 7, 1, 20, 0, 0, 0, time.UTC) // one in the afternoon there
	calls := 0
	tr, call := newTransport(t, Limits{RequestsPerMinute: 1e6, InputTokensPerMinute: 1e6, RequestsPerDay: 10}, func(w http.ResponseWriter, r *http.Request) {
		calls++
		answer(w, r)
	})
	tr.Now = func() time.Time { return now }
	for _, v := range []struct {
		at    time.Time
		calls int
	}{
		{now, 9}, // the tenth comes with the refill of the day
		{time.Date(2026, 7, 2, 6, 59, 0, 0, time.UTC), 9},
		{time.Date(2026, 7, 2, 7, 0, 0, 0, time.UTC), 18},
	} {
		now = v.at
		for range 20 {
			if _, err := call(); err != nil && !errors.Is(err, ErrDayUsedUp) {
				t.Fatal(err)
			}
		}
		if calls != v.calls {
			t.Errorf("at %v: %d calls, want %d", v.at, calls, v.calls)
		}
	}
	if q := Day("requests", 310); q.Burst+q.Limit*float64(24*time.Hour)/float64(q.Per) > 310+1e-9 {
		t.Errorf("a day admits more than its limit: %+v", q)
	}
}

func TestSettlesAndPauses(t *testing.T) {
	refuse := true
	tr, call := newTransport(t, Limits{RequestsPerMinute: 100, InputTokensPerMinute: 10_000, RequestsPerDay: 1000}, func(w http.ResponseWriter, r *http.Request) {
		if refuse {
			refuse = false
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"0.05s"}]}}`)
			return
		}
		answer(w, r)
	})
	start := time.Now()
	if status, err := call(); err != nil || status != 200 || time.Since(start) < 50*time.Millisecond {
		t.Errorf("%d, %v after %v", status, err, time.Since(start))
	}
	st, err := tr.minutes.Status(t.Context(), "gemini-2.5-flash")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range st.Buckets {
		if used := q.Burst - q.Level; q.Resource == "tokens" && used > 7 || q.Resource == "requests" && used < 1 {
			t.Errorf("%v %s count as used", used, q.Resource)
		}
	}
}

func TestDayRefusalIsHandedOver(t *testing.T) {
	calls := 0
	_, call := newTransport(t, Limits{RequestsPerMinute: 100, InputTokensPerMinute: 10_000, RequestsPerDay: 1000}, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"code":429,"details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"retryDelay":"40s"}]}}`)
	})
	if status, err := call(); err != nil || status != 429 || calls != 1 {
		t.Errorf("%d, %v after %d calls", status, err, calls)
	}
}
