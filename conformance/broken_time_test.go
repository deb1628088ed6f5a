package conformance

import (
	"context"
	"slices"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// timing is a flaw in what time a state sees.
func timing(edit func(now bucket.Micros, s *bucket.State) bucket.Micros) flaw {
	return flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) { honest(edit(now, s), s, w) }}
}

// expiring is a flaw in when a key is dropped.
func expiring(expired func(s *bucket.State, now bucket.Micros) bool) flaw {
	return flaw{expired: expired}
}

func brokenTime() []broken {
	// forgetful drops places of other instances than the first.
	ownLine := flaw{outer: func(d *subject, next applyFunc) applyFunc {
		return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
			if d.number == 0 {
				return next(ctx, batch)
			}
			// This instance sees the levels, and a line of its own: nobody.
			d.store.mu.Lock()
			held := map[string][]bucket.Place{}
			for key, s := range d.store.states {
				held[key], s.Line = s.Line, nil
			}
			d.store.mu.Unlock()
			responses, err := next(ctx, batch)
			d.store.mu.Lock()
			for key, line := range held {
				if s := d.store.states[key]; s != nil {
					s.Line = line
				}
			}
			d.store.mu.Unlock()
			return responses, err
		}
	}}
	hints := func(edit func(bucket.Micros) bucket.Micros) flaw {
		return telling(func(_ *driver.Request, res *driver.Response) {
			for i := range res.Results {
				res.Results[i].RetryAfter = edit(res.Results[i].RetryAfter)
			}
		})
	}
	return []broken{
		{"who doesn't wait passes the line", "line/protects", "one who doesn't wait", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			line := s.Line
			if !slices.ContainsFunc(w.Ops, func(o bucket.Op) bool { return o.Place != "" }) {
				s.Line = nil
			}
			honest(now, s, w)
			s.Line = line
		}}},
		{"a line for each instance", "line/instances", "a's place", ownLine},
		{"leases don't run out", "line/lease", "Lease:", asking(func(r *driver.Request) {
			for i := range r.Ops {
				r.Ops[i].Grace += bucket.Hour
			}
		})},
		{"leases run out early", "line/lease", "Lease:", asking(func(r *driver.Request) {
			for i := range r.Ops {
				if r.Ops[i].Place != "" {
					r.Ops[i].Grace = 0
				}
			}
		})},
		{"hints to the millisecond, rounded down", "line/hint", "the hint", hints(func(us bucket.Micros) bucket.Micros { return us / 1000 * 1000 })},
		{"hints to be on the safe side", "line/hint", "the hint", hints(func(us bucket.Micros) bucket.Micros { return us + us/10 })},
		{"hints to the second, rounded up", "line/hint-clock", "a microsecond before the hint", hints(func(us bucket.Micros) bucket.Micros { return (us + bucket.Second - 1) / bucket.Second * bucket.Second })},
		{"each request refills a little", "clock/bound", "were granted within", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i := range s.Buckets {
				s.Buckets[i].Level = min(s.Buckets[i].Level+0.6, s.Buckets[i].Cap())
			}
		}}},
		{"each instance has a level of its own", "clock/bound-instances", "were granted within", flaw{outer: func(d *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				batch = slices.Clone(batch)
				for i := range batch {
					batch[i].Key += string(rune('0' + d.number))
				}
				return next(ctx, batch)
			}
		}}},
		{"the caller's clock", "clock/one", "clocks are", flaw{clock: func(d *subject, now bucket.Micros) bucket.Micros { return now - bucket.Micros(d.number)*bucket.Second }}},
		{"the caller's clock, ahead", "clock/one", "clocks are", flaw{clock: func(d *subject, now bucket.Micros) bucket.Micros { return now + bucket.Micros(d.number)*bucket.Second }}},
		{"a clock in milliseconds", "clock/now", "but the clock was set to", flaw{clock: func(_ *subject, now bucket.Micros) bucket.Micros { return now / 1000 * 1000 }}},
		{"a stale now is a new beginning", "clock/back", "an acquire is granted", timing(func(now bucket.Micros, s *bucket.State) bucket.Micros {
			if now < s.At {
				s.At = now // and what was refilled since is refilled again
			}
			return now
		})},
		{"a stale now refills by its distance", "clock/back", "an acquire is granted", timing(func(now bucket.Micros, s *bucket.State) bucket.Micros {
			return s.At + max(now-s.At, s.At-now)
		})},
		{"a state forgets the furthest clock", "differential/clock", "", timing(func(now bucket.Micros, s *bucket.State) bucket.Micros {
			s.At = min(s.At, now)
			return now
		})},
		{"a time to live in whole seconds", "expiry/soon", "the key was dropped", expiring(func(s *bucket.State, now bucket.Micros) bool {
			return s.At > 0 && now >= s.At+(s.AbsentAt()-s.At)/bucket.Second*bucket.Second
		})},
		{"an instant in whole milliseconds", "expiry/soon", "the key was dropped", expiring(func(s *bucket.State, now bucket.Micros) bool { return now >= s.AbsentAt()/1000*1000 })},
		{"a time to live without the debt", "expiry/far", "the key was dropped", expiring(func(s *bucket.State, now bucket.Micros) bool {
			return s.Absent(now) || slices.ContainsFunc(s.Buckets, func(b bucket.Bucket) bool { return b.Level < 0 })
		})},
		{"an override doesn't count", "expiry/far", "the key was dropped", expiring(func(s *bucket.State, now bucket.Micros) bool {
			s = s.Clone()
			for i := range s.Buckets {
				s.Buckets[i].OverLimit = 0
			}
			return s.Absent(now)
		})},
		{"a block doesn't count", "expiry/far", "the key was dropped", expiring(func(s *bucket.State, now bucket.Micros) bool {
			s = s.Clone()
			s.Blocked = 0
			return s.Absent(now)
		})},
		{"an hour at most", "expiry/clock", "was dropped", expiring(func(s *bucket.State, now bucket.Micros) bool {
			return s.Absent(now) || (s.At > 0 && now > s.At+bucket.Minute)
		})},
		{"a microsecond early", "expiry/clock", "was dropped", expiring(func(s *bucket.State, now bucket.Micros) bool { return s.Absent(now + 1) })},
		{"a restart forgets", "differential/reopened", "the key was dropped", flaw{reopen: func(d *subject) { d.store.states = map[string]*bucket.State{} }}},
		{"a restart forgets overrides", "close/kept", "", flaw{reopen: func(d *subject) {
			for _, s := range d.store.states {
				for i := range s.Buckets {
					s.Buckets[i].OverLimit, s.Buckets[i].OverBurst = 0, 0
				}
			}
		}}},
	}
}
