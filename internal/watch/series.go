package watch

import (
	"math"
	"time"

	"github.com/tokenthrottle/throttle"
)

// useOver is how long use is averaged over: what is reserved in one second is given back in another.
const useOver = 10 * time.Second

// series is what was seen of one quota.
type series struct {
	points []Point // oldest first
	nets   []net   // of the last looks
	level  float64
	burst  float64
	limit  float64
	own    float64 // what this process had debited by then
	at     time.Time
}

// Point is a quota at one instant.
type Point struct {
	At    time.Time
	Level float64 // as a part of the burst
	Use   float64 // as a part of the limit; NaN if it couldn't be seen
}

// net is what was debited, less what came back, between two looks.
type net struct {
	units float64 // NaN if that can't be known
	took  time.Duration
}

// see takes a look at the quota and returns its use as units a period; NaN if it can't be seen. own is what this process
// has debited so far, less what it gave back; NaN if that isn't known.
func (s *series) see(b *throttle.BucketStatus, now time.Time, own float64) float64 {
	took := now.Sub(s.at)
	switch {
	case s.at.IsZero() || took <= 0 || took > 3*useOver: // a first look, or a first one after a while
		s.nets = s.nets[:0]
	default:
		s.nets = append(s.nets, net{s.net(b, took, own), took})
	}
	s.level, s.burst, s.limit, s.own, s.at = b.Level, b.Burst, b.Limit, own, now
	units, over, seen := 0.0, time.Duration(0), time.Duration(0)
	for i := len(s.nets) - 1; i >= 0; i-- {
		if over+s.nets[i].took > useOver && over > 0 {
			s.nets = s.nets[i+1:]
			break
		}
		if !math.IsNaN(s.nets[i].units) {
			units += s.nets[i].units
			seen += s.nets[i].took
		}
		over += s.nets[i].took
	}
	if seen == 0 || seen < over/2 {
		return math.NaN()
	}
	return max(0, units*float64(b.Per)/float64(seen))
}

// nearlyFull is the part of a burst above which a bucket may have been full between two looks.
const nearlyFull = 0.98

// net works out what was debited in all, from the level and what must have come back. A bucket that may have been full
// between the looks doesn't tell: then it is what this process knows of.
func (s *series) net(b *throttle.BucketStatus, took time.Duration, own float64) float64 {
	if max(b.Level, s.level) >= nearlyFull*b.Burst || b.Burst != s.burst || b.Limit != s.limit {
		return own - s.own
	}
	return s.level + b.Limit*float64(took)/float64(b.Per) - b.Level
}

// keep adds a point and forgets those before from.
func (s *series) keep(p Point, from time.Time) {
	s.points = append(s.points, p)
	for len(s.points) > 0 && s.points[0].At.Before(from) {
		s.points = s.points[1:]
	}
}
