package batch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batchfile"
)

// job is one request on its way to its result.
type job struct {
	run     *run
	request batchfile.Request

	ctx      context.Context
	cancel   context.CancelFunc
	failures int
	failed   time.Time // when it failed first

	mu      sync.Mutex
	flying  bool
	ahead   bool // it holds a place among those that wait for the limits the first time
	drained bool
}

type jobKey struct{}

func jobOf(ctx context.Context) *job { return ctx.Value(jobKey{}).(*job) }

// depart notes that the request is being sent.
func (j *job) depart() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flying = true
	j.leaveLineLocked()
}

func (j *job) leaveLine() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leaveLineLocked()
}

func (j *job) leaveLineLocked() {
	if j.ahead {
		j.ahead = false
		<-j.run.ahead
	}
}

// arrive notes that a try is over and that the request may wait again.
func (j *job) arrive() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flying = false
	if j.drained {
		j.cancel()
	}
}

// drain ends the job unless it is in flight.
func (j *job) drain() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.drained = true
	if !j.flying {
		j.cancel()
	}
}

// do sends the request until it has a result, or the run ends.
func (j *job) do() {
	defer j.release()
	for {
		v := j.try()
		if j.ctx.Err() != nil && v.fate != final {
			return
		}
		switch v.fate {
		case final:
			j.run.finish(j, v.result)
			return
		case hopeless:
			j.run.stop(&StoppedError{Reason: Refused, Detail: j.run.redact(v.why)})
			return
		}
		wait, again := j.again(v)
		if !again || !j.pause(wait) {
			return
		}
	}
}

// release gives back what the job holds.
func (j *job) release() {
	j.leaveLine()
	j.cancel()
}

// try sends the request once; where the provider refuses it for its rate, the limiter's transport sends it again.
func (j *job) try() verdict {
	req, err := http.NewRequestWithContext(j.ctx, http.MethodPost, j.run.urlOf(j.request.URL), bytes.NewReader(j.request.Body))
	if err != nil {
		return verdict{fate: final, result: failure(codeNetwork, err.Error())}
	}
	req.Header.Set("Content-Type", "application/json")
	if j.run.Key != "" {
		req.Header.Set("Authorization", "Bearer "+j.run.Key)
	}
	resp, err := j.run.client.Do(req)
	if err != nil {
		return judgeError(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return judgeError(fmt.Errorf("in the middle of the answer: %w", err))
	}
	if len(body) > maxAnswer {
		return verdict{fate: final, result: failure(codeAnswer, fmt.Sprintf("the answer is longer than %d bytes", maxAnswer))}
	}
	return judge(resp, body)
}

// maxAnswer is the longest answer, in bytes, that is kept.
const maxAnswer = 512 << 20

// again decides what becomes of a request whose try ended without a result: how long to wait before the next, or, if
// again is false, that there is none.
func (j *job) again(v verdict) (wait time.Duration, again bool) {
	why := j.run.redact(v.why)
	j.run.tally.update(func(s *Snapshot) {
		s.Trouble = why
		if v.fate == transient && v.result.Response == nil {
			s.NetworkErrors++
		}
	})
	if v.fate == limited {
		j.run.tally.useful() // it is there, and paces us
		return v.wait, true
	}
	now := time.Now()
	if j.failures++; j.failures == 1 {
		j.failed = now
	}
	alive, heard := j.run.tally.silence()
	silence := now.Sub(alive)
	switch {
	case v.fate == transient && j.failures >= j.run.MaxAttempts && alive.After(j.failed):
		j.run.finish(j, v.result) // others succeed: it is this request
		return 0, false
	case v.fate == transient && !heard && j.failures >= firstAttempts:
		j.run.stop(&StoppedError{Reason: Unreachable, Detail: why})
		return 0, false
	case silence > j.run.GiveUp:
		reason := Unreachable
		if v.fate == storeDown {
			reason = StoreFailed
		}
		j.run.stop(&StoppedError{Reason: reason, Detail: why})
		return 0, false
	}
	return max(min(v.wait, j.run.GiveUp), j.backoff()), true
}

// firstAttempts is how often a request is tried while the provider has never answered: a wrong address shows soon.
const firstAttempts = 5

// backoff doubles with each failure, less up to a half at random.
func (j *job) backoff() time.Duration {
	d := min(j.run.Backoff<<min(j.failures-1, 10), 60*j.run.Backoff)
	return d - time.Duration(rand.Int64N(int64(d)/2+1))
}

// pause waits, and says whether to go on.
func (j *job) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-j.ctx.Done():
		return false
	}
}

// urlOf joins the base URL and a request's path. Both usually name the API's version: it counts once.
func (r *run) urlOf(path string) string {
	p, query, _ := strings.Cut(path, "?")
	u := *r.BaseURL
	base := strings.TrimSuffix(u.Path, "/")
	if i := strings.LastIndexByte(base, '/'); i >= 0 && strings.HasPrefix(p, base[i:]+"/") {
		base = base[:i]
	}
	u.Path, u.RawPath = base+unescape(p), ""
	if query != "" {
		u.RawQuery = query
	}
	return u.String()
}

func unescape(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}
