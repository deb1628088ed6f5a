package provider

import (
	"math"
	"sync"
	"time"
)

// account is one model's meters and statistics.
type account struct {
	model string

	mu     sync.Mutex
	own    bool // has limits of its own, so a change of the default passes it by
	limits Limits
	meters [numQuotas]meter
	audit  audit
	tally  tally
}

func newAccount(model string, limits Limits, own bool, minute time.Duration, now time.Time) *account {
	a := &account{model: model, own: own}
	a.tally.init()
	a.resize(limits, minute, now)
	return a
}

// resize applies limits from now on; what is in use stays in use.
func (a *account) resize(limits Limits, minute time.Duration, now time.Time) {
	a.drain(now)
	a.limits = limits
	for q := range a.meters {
		q := quota(q)
		a.meters[q].resize(q.limit(limits), q.burst(limits), q.window(minute))
		a.audit.resize(q, q.limit(limits), q.window(minute), now)
	}
}

func (a *account) drain(now time.Time) {
	for q := range a.meters {
		a.meters[q].drain(now)
	}
}

// view is what the headers of an answer say about one meter.
type view struct {
	limited   bool
	limit     float64       // units a window
	remaining float64       // whole units that would be accepted now, ≥ 0
	full      time.Duration // until nothing is in use
}

// verdict is the outcome of asking for admission.
type verdict struct {
	admitted bool
	quota    quota         // refused: the limit that takes longest to have room
	tooLarge bool          // refused: more than the burst of quota, no wait helps
	limit    float64       // refused: the limit of quota
	used     float64       // refused: units in use of quota, rounded up
	asked    float64       // refused: units asked of quota
	wait     time.Duration // refused: until there is room, if nobody else comes
	views    [numQuotas]view
}

// admission is a request for admission.
type admission struct {
	charge     Work
	needOutput bool // some of the output limit must be left, as Anthropic demands
	tolerance  time.Duration
	chargeLoss bool // a refusal costs one request
	background bool // traffic that doesn't come through HTTP
	fingerprint
}

// fingerprint tells requests apart in the statistics.
type fingerprint struct{ id, body uint64 }

// admit charges all of ad or nothing.
func (a *account) admit(now time.Time, ad admission) verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drain(now)
	v := a.judge(ad)
	switch {
	case v.admitted:
		a.apply(now, ad.charge)
		a.audit.check(ad.charge, a.limits, ad.tolerance)
		a.tally.accept(now, ad)
	default:
		if ad.chargeLoss {
			a.apply(now, Work{Requests: 1})
		}
		a.tally.refuse(v, ad)
	}
	v.views = a.viewsNow()
	return v
}

// judge decides without changing anything.
func (a *account) judge(ad admission) verdict {
	v := verdict{admitted: true}
	worst := time.Duration(-1)
	for q := range a.meters {
		m, q := &a.meters[q], quota(q)
		asked := q.of(ad.charge)
		if !m.limited() || (asked == 0 && !(q == outputMinute && ad.needOutput)) {
			continue
		}
		var wait time.Duration
		tooLarge := asked > m.burst
		switch {
		case tooLarge:
			wait = math.MaxInt64
		case asked == 0:
			wait = m.timeToRoom()
		default:
			wait = m.wait(asked)
		}
		if wait <= ad.tolerance || wait <= worst {
			continue
		}
		worst = wait
		v = verdict{quota: q, tooLarge: tooLarge, limit: m.limit, used: math.Ceil(m.used - dust*m.limit), asked: asked, wait: wait}
	}
	return v
}

// apply charges w, negative parts give back.
func (a *account) apply(now time.Time, w Work) {
	for q := range a.meters {
		if amount := quota(q).of(w); amount != 0 {
			a.meters[q].add(amount)
			a.audit.record(quota(q), now, amount)
		}
	}
}

// correct replaces an earlier charge by what was really used.
func (a *account) correct(now time.Time, charged, used Work) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drain(now)
	a.apply(now, used.minus(charged))
	a.tally.settle(used)
}

// charge adds w without asking.
func (a *account) charge(now time.Time, w Work) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drain(now)
	a.apply(now, w)
}

// views are the meters at now.
func (a *account) views(now time.Time) [numQuotas]view {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drain(now)
	return a.viewsNow()
}

func (a *account) viewsNow() (views [numQuotas]view) {
	for q := range a.meters {
		if m := &a.meters[q]; m.limited() {
			views[q] = view{
				limited:   true,
				limit:     m.limit,
				remaining: math.Max(0, math.Floor(m.burst-m.used+dust*m.limit)),
				full:      m.timeToDrain(m.used),
			}
		}
	}
	return views
}
