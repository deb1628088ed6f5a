package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// A job whose last answer has come isn't abandoned any more, though it isn't over: what became of it is known.
func TestAnAnsweredJobIsNotAbandoned(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		states []callState
		ends   bool // abandon ends the wait
	}{
		{[]callState{applied}, false},
		{[]callState{applied, failed}, false},
		{[]callState{applied, pending}, true},
		{[]callState{pending}, true},
	} {
		j := &job{done: make(chan struct{}), d: &Driver{}}
		for _, s := range c.states {
			j.calls = append(j.calls, &call{state: s})
		}
		err, ended := j.abandon(ctx)
		if ended != c.ends || (err != nil) != c.ends {
			t.Errorf("%v: error %v, ended %v, want %v", c.states, err, ended, c.ends)
		}
	}
}

// refusing is a client whose server refuses to tell the time, just when the caller goes away.
type refusing struct {
	redis.UniversalClient
	goAway func()
}

func (r refusing) Time(ctx context.Context) *redis.TimeCmd {
	r.goAway()
	cmd := redis.NewTimeCmd(ctx)
	cmd.SetErr(refusal("WRONGPASS invalid username-password pair"))
	return cmd
}

// A server's refusal is what the caller is told, even one who has just gone away: it says what to do, and ctx's error doesn't.
func TestARefusalIsToldToOneWhoWentAway(t *testing.T) {
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "r", Limit: 1, Per: bucket.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	client := refusing{goAway: cancel}
	j := New(client, nil).newJob([]driver.Request{{Key: "k", Limits: limits, Ops: []bucket.Op{{Kind: bucket.Peek}}}})
	if j.attempt(ctx, client) {
		t.Error("another attempt is to be made")
	}
	j.finish(ctx)
	var store *driver.StoreError
	if !errors.As(j.err, &store) || !strings.Contains(store.Remedy, "password is wrong") || errors.Is(j.err, driver.ErrUnknownOutcome) {
		t.Errorf("error %v, want one that tells of the password, and that nothing was applied", j.err)
	}
}

// A pause takes from half to all of what it may, at random: no more, since an attempt that begins too late leaves its outcome
// open, and not always the same, or those who were refused together would come back together.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = time.Second
		least, most := 10*wait, time.Duration(0)
		for range 300 {
			begin := time.Now()
			new(job).pause(t.Context(), wait)
			took := time.Since(begin)
			least, most = min(least, took), max(most, took)
		}
		if least < wait/2 || least > wait*6/10 || most > wait || most < wait*9/10 {
			t.Errorf("pauses took from %v to %v, want from %v to %v", least, most, wait/2, wait)
		}
	})
}

// One who went away is told no more than that, if nothing of the batch can have been applied, and that the outcome is open if
// it can.
func TestOneWhoWentAwayIsToldIfTheOutcomeIsOpen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, unsure := range []bool{false, true} {
		j := &job{d: &Driver{}, calls: []*call{{state: pending, unsure: unsure}}}
		j.finish(ctx)
		if !errors.Is(j.err, context.Canceled) || errors.Is(j.err, driver.ErrUnknownOutcome) != unsure {
			t.Errorf("unsure %v: error %v", unsure, j.err)
		}
	}
}
