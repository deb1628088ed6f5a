package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/redisscript"
)

// Waits between attempts, from least to most, doubling.
const (
	leastWait = 5 * time.Millisecond
	mostWait  = 250 * time.Millisecond
)

// errTimeout is the cause of a ctx that ended because of [Options].Timeout.
var errTimeout = errors.New("no answer in time")

// again says when there is reason for the next attempt.
type again int

const (
	never again = iota
	later
	atOnce
)

// run sends the calls until each is answered, refused for good, or ctx ends. An attempt may have been made before.
func (j *job) run(ctx context.Context) {
	wait := leastWait
	for again := j.tried || j.attempt(ctx, j.d.client); again; again = j.attempt(ctx, j.d.client) {
		if !j.last.IsZero() && time.Now().Add(wait).After(j.last) && j.sure() {
			break
		}
		j.pause(ctx, wait)
		wait = min(2*wait, mostWait)
	}
	j.finish(ctx)
	close(j.done)
}

// sure says whether nothing that is pending can have been applied.
func (j *job) sure() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !slices.ContainsFunc(j.calls, func(c *call) bool { return c.state == pending && c.unsure })
}

// pause waits for about so long.
func (j *job) pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait/2 + rand.N(wait/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// finish settles the outcome.
func (j *job) finish(ctx context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err = j.outcome(ctx); j.err != nil {
		j.responses = nil
	}
	late := 0 // how many of the names a sending may still bear that is on its way
	for _, c := range j.calls {
		if c.unsure {
			late = max(late, c.named)
		}
	}
	// Such a name must stay its client's newest, or the sending would be applied as a new one when it arrives.
	for _, name := range j.names[late:] {
		name.Done()
	}
}

// attempt sends the calls that are pending, and says whether to try again after a pause.
func (j *job) attempt(ctx context.Context, client redis.UniversalClient) bool {
	if ctx.Err() != nil {
		return false
	}
	j.tried = true
	if !j.d.clock.known() { // without an answer there would be no telling since when a repeat may have been applied
		now, err := client.Time(ctx).Result()
		if err != nil {
			return j.unreached(err)
		}
		j.d.clock.saw(bucket.At(now))
	}
	for ctx.Err() == nil {
		calls, cmds := j.prepare(ctx)
		var err error // one of the commands', or of the connection that was to send them
		switch len(cmds) {
		case 0:
			return false
		case 1:
			err = client.Process(ctx, cmds[0])
		default:
			pipeline := client.Pipeline()
			for _, cmd := range cmds {
				_ = pipeline.Process(ctx, cmd) // sends nothing yet
			}
			_, err = pipeline.Exec(ctx)
		}
		if next := j.judge(calls, cmds, err); next != atOnce {
			return next == later
		}
	}
	return true
}

// unreached notes that the server couldn't even be asked for its clock.
func (j *job) unreached(err error) bool {
	d := diagnose(err)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.calls {
		c.note(err)
		if !d.passing {
			c.state = failed
		}
	}
	return d.passing
}

// prepare makes commands of the pending calls; of none if the job was abandoned.
func (j *job) prepare(ctx context.Context) ([]*call, []*redis.StringCmd) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.abandoned {
		return nil, nil
	}
	calls, cmds := j.sent[:0], j.cmds[:0]
	if len(j.calls) > 1 {
		calls, cmds = make([]*call, 0, len(j.calls)), make([]*redis.StringCmd, 0, len(j.calls))
	}
	past := j.d.clock.past()
	for _, c := range j.calls {
		if c.state != pending {
			continue
		}
		if !c.unsure {
			c.since = past
		}
		if j.d.scriptsOnly.Load() {
			c.loads = true
		}
		calls, cmds = append(calls, c), append(cmds, c.command(ctx))
	}
	return calls, cmds
}

// judge takes in what became of the commands. Not each that the client couldn't send has an error of its own.
func (j *job) judge(calls []*call, cmds []*redis.StringCmd, sending error) again {
	j.mu.Lock()
	defer j.mu.Unlock()
	next, missing := never, 0
	for i, c := range calls {
		text, err := cmds[i].Result()
		if err == nil && text == "" {
			err = sending
		}
		if err == nil {
			c.answered(j, text)
			continue
		}
		d := diagnose(err)
		// A refusal is about the last sending only, and the client may have sent it more than once, or been refused before it
		// could send it again.
		if sent := c.about.Sent(); sent > 1 || sent == 1 && (!d.refused || d.unsent) {
			c.unsure = true
		}
		c.about = nil
		if d.code != "NOSCRIPT" { // which is no trouble
			c.note(err)
		}
		switch {
		case d.code == "NOSCRIPT":
			// One sending of the script does for all that go to the same server; a cluster has several.
			c.loads = missing%8 == 0
			missing++
			next = atOnce
		case d.hashless && !c.loads:
			j.d.scriptsOnly.Store(true)
			next = atOnce
		case d.passing:
			next = max(next, later)
		default:
			c.state = failed
		}
	}
	return next
}

// answered takes in an answer.
func (c *call) answered(j *job, text string) {
	if c.about.Sent() > 1 {
		c.unsure = true // the client repeated it, and the first sending may still be on its way
	}
	c.about = nil
	if j.abandoned { // nobody waits for more
		c.state, c.err = applied, nil
		return
	}
	if err := c.read(text, j.batch, j.responses); err != nil {
		c.state, c.unsure = failed, true
		c.err = fmt.Errorf("key %.200q: %w", c.key, err)
		return
	}
	j.d.clock.saw(j.responses[c.parts[0]].Now)
	c.state, c.err = applied, nil
	for _, at := range c.parts {
		for _, res := range j.responses[at].Results {
			if res.Status == bucket.Unknown {
				c.state, c.unsure, c.err = failed, true, errForgotten
				return
			}
		}
	}
}

// errForgotten says that a repeat came too late to be recognised.
var errForgotten = errors.New("an answer was lost, and by the time of the next attempt the state no longer remembered whether it had been applied")

// note keeps the error of a sending, but not in place of one that says more.
func (c *call) note(err error) {
	var refusal redis.Error
	told := errors.As(c.err, new(redis.Error))
	switch {
	case c.err == nil, errors.As(err, &refusal):
	case told, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, redisscript.ErrWithdrawn):
		return
	}
	c.err = err
}

// abandon gives the job up because ctx has ended, unless it is done. It returns false then.
func (j *job) abandon(ctx context.Context) (error, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.done:
		return nil, false
	default:
	}
	if !slices.ContainsFunc(j.calls, func(c *call) bool { return c.state == pending }) {
		return nil, false // the last answer has just come, and what became of each is known
	}
	j.abandoned = true
	inDoubt := false
	for _, c := range j.calls {
		if c.about != nil && !c.about.Withdraw() {
			inDoubt = true
		}
	}
	return j.failure(ctx, inDoubt), true
}

// outcome is the error of a job that is over, nil if all was applied.
func (j *job) outcome(ctx context.Context) error {
	for _, c := range j.calls {
		if c.state != applied {
			return j.failure(ctx, false)
		}
	}
	return nil
}

// failure is the error of a job not all of which is known to be applied.
func (j *job) failure(ctx context.Context, inDoubt bool) error {
	var cause error
	waiting := false
	for _, c := range j.calls {
		inDoubt = inDoubt || c.unsure || c.state == applied
		waiting = waiting || c.state == pending
		if cause == nil {
			cause = c.err
		}
	}
	ended := context.Cause(ctx)
	switch {
	case waiting && ended != nil && !errors.Is(ended, errTimeout):
		cause = ctx.Err()
		if !inDoubt {
			return cause
		}
	case cause == nil:
		cause = &driver.StoreError{Driver: "redis", Doing: "apply", Remedy: remedyHung, Err: fmt.Errorf("%w: %v", errTimeout, j.d.timeout)}
	default:
		cause = &driver.StoreError{Driver: "redis", Doing: "apply", Remedy: diagnose(cause).remedy, Err: cause}
	}
	if inDoubt {
		return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, cause)
	}
	return cause
}
