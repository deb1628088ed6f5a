package driver

import "github.com/tokenthrottle/throttle/bucket"

// Do carries out one operation on a key of a [Local] driver, under limits that may be nil. It keeps nothing of o and res,
// and allocates nothing unless the operation joins the line. Where it makes no difference ([bucket.State.Timeless]) it
// doesn't look at the clock. The only error is ErrClosed.
func Do(d Local, p Pinned, l *bucket.Limits, o *bucket.Op, res *bucket.Result) error {
	// An acquire needs the time for certain, so it is read while others may have the key: under its lock, that would be
	// half of what is done there. Who read it first may come second; the instant of the one before counts for him then.
	acquires := o.Kind == bucket.Acquire
	var now bucket.Micros
	if acquires {
		now = d.Now()
	}
	s, err := p.Lock()
	if err != nil {
		return err
	}
	switch {
	case acquires:
	case s.Timeless(l, o):
		now = s.At
	default:
		now = d.Now()
	}
	s.Do(now, l, o, res)
	p.Unlock(Frees(o, res))
	return nil
}

// ApplyLocal carries out operations in order, as one, on a key of a [Local] driver, under limits that may be nil. results
// is at least as long as ops. The only error is ErrClosed.
func ApplyLocal(d Local, p Pinned, l *bucket.Limits, ops []bucket.Op, results []bucket.Result) error {
	s, err := p.Lock()
	if err != nil {
		return err
	}
	s.Apply(d.Now(), &bucket.Request{Limits: l, Ops: ops}, results)
	p.Unlock(FreesAny(ops, results))
	return nil
}

// FreesAny says whether any operation [Frees] something.
func FreesAny(ops []bucket.Op, results []bucket.Result) bool {
	for i := range ops {
		if Frees(&ops[i], &results[i]) {
			return true
		}
	}
	return false
}
