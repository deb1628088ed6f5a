package main

import (
	"errors"
	"testing"
	"time"
)

func TestTakeover(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	seen := func(ms int, where int64, primary bool) position {
		return position{asked: at(ms), told: at(ms + 1), at: where, primary: primary}
	}
	gone := func(ms int) position { return position{asked: at(ms), told: at(ms + 1), err: errors.New("gone")} }
	replica := []position{seen(0, 90, false), seen(5, 200, false), seen(10, -1, false), seen(20, 300, true)}
	for name, tt := range map[string]struct {
		old      []position
		from, to int
	}{
		"goes on for a while":     {[]position{seen(0, 100, true), seen(10, 200, true), seen(20, 400, true), seen(30, 500, true), seen(40, 500, true)}, 10, 31},
		"gets no further":         {[]position{seen(0, 100, true), seen(10, 200, true), seen(20, 200, true)}, 20, 11},
		"is killed":               {[]position{seen(0, 100, true), seen(10, 150, true), gone(20), gone(30)}, 10, 21},
		"is killed in a pause":    {[]position{seen(0, 100, true), seen(10, 150, true), seen(15, 150, true), gone(20), gone(30)}, 15, 21},
		"is ahead from the start": {[]position{seen(0, 400, true), seen(10, 500, true), gone(20)}, 0, 21},
		"becomes a replica":       {[]position{seen(0, 100, true), seen(10, 300, true), seen(20, 900, false), seen(30, 950, false)}, 0, 21},
	} {
		promoted, lost, err := takeover(tt.old, replica)
		if err != nil || !promoted.Equal(at(10)) {
			t.Errorf("%s: promoted %v after the start, error %v; want 10 ms", name, promoted.Sub(start), err)
		}
		if !lost.from.Equal(at(tt.from)) || !lost.to.Equal(at(tt.to)) {
			t.Errorf("%s: lost from %v to %v, want %d ms to %d ms", name, lost.from.Sub(start), lost.to.Sub(start), tt.from, tt.to)
		}
	}
	if _, _, err := takeover([]position{seen(0, 100, true)}, replica[:3]); err == nil {
		t.Error("a replica that wasn't promoted: no error")
	}
}

// Only answers to calls that were under way in the time that may be lost can be forgotten.
func TestForgivenCalls(t *testing.T) {
	l, start := newLedger(), time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for i, s := range []span{{at(0), at(9)}, {at(0), at(10)}, {at(15), at(15)}, {at(20), at(30)}, {at(21), at(30)}} {
		l.answers = append(l.answers, answer{began: s.from, at: s.to, granted: float64(int(1) << i)})
	}
	if got := l.during(span{at(10), at(20)}).granted; got != 2+4+8 {
		t.Errorf("granted %g, want 14", got)
	}
	if got := l.during(span{at(20), at(10)}).granted; got != 0 {
		t.Errorf("in no time: granted %g", got)
	}
}
