package batch

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/openai"
)

// Snapshot is how far a run is.
type Snapshot struct {
	// Lines of the input were read, Bytes of Size; a Size of 0 is unknown.
	Lines       int
	Bytes, Size int64
	// Skipped had a result before; Succeeded and Failed got theirs in this run; Rejected lines can't be run.
	Skipped, Succeeded, Failed, Rejected int
	// Pending are begun and not done: Waiting for the limits, InFlight, or pausing before another try.
	Pending, Waiting, InFlight int
	// Sent counts tries; Rejected429, ServerErrors and NetworkErrors those that ended so.
	Sent, Rejected429, ServerErrors, NetworkErrors int
	// Tokens of the answers that report them.
	TokensReserved, TokensUsed int64
	// Binding names the quota that made the last call wait, and Per its period; empty if none did lately.
	Binding string
	Per     time.Duration
	// Trouble is what failed last and is being tried again; empty if something has succeeded since.
	Trouble string
	Elapsed time.Duration
}

// Done counts the lines that need nothing more.
func (s Snapshot) Done() int { return s.Skipped + s.Succeeded + s.Failed + s.Rejected }

// tally keeps the Snapshot.
type tally struct {
	mu    sync.Mutex
	s     Snapshot
	begun time.Time
	bound time.Time // when Binding was seen
	alive time.Time // when the provider last gave a useful answer, or the run began
	heard bool      // it answered at all
}

func (t *tally) update(f func(s *Snapshot)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.s)
}

func (t *tally) snapshot() Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.s
	s.Elapsed = time.Since(t.begun)
	if s.Waiting == 0 || time.Since(t.bound) > bindingFor {
		s.Binding, s.Per = "", 0
	}
	return s
}

// bindingFor is how long a limit counts as the one that binds.
const bindingFor = 5 * time.Second

// hooks watch who waits for what.
func (t *tally) hooks() *throttle.Hooks {
	return &throttle.Hooks{
		WaitStarted: func(_ context.Context, i throttle.WaitInfo) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.s.Waiting++
			t.bind(i)
		},
		WaitEnded: func(_ context.Context, i throttle.WaitInfo) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.s.Waiting--
			t.bind(i)
		},
	}
}

func (t *tally) bind(i throttle.WaitInfo) {
	t.s.Binding, t.s.Per, t.bound = i.Resource, i.Per, time.Now()
}

// answer takes what the transport tells of a call: the tokens of one whose answer reports them.
func (t *tally) answer(a openai.Answer) {
	if !a.HasUsage {
		return
	}
	t.update(func(s *Snapshot) {
		s.TokensReserved += int64(a.Reserved[openai.Tokens])
		s.TokensUsed += int64(a.Usage.Total())
	})
}

// answered counts an answer of whatever kind.
func (t *tally) answered(status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = true
	switch {
	case status == http.StatusTooManyRequests:
		t.s.Rejected429++
	case status >= 500:
		t.s.ServerErrors++
	}
}

// useful notes an answer that shows the provider at work.
func (t *tally) useful() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alive, t.s.Trouble = time.Now(), ""
}

// silence is since when the provider has given no useful answer, and whether it has answered at all.
func (t *tally) silence() (since time.Time, heard bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.alive, t.heard
}
