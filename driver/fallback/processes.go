package fallback

import (
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/presence"
)

// processes counts who uses a store, this process included.
//
// Presence is a line that never moves: each process keeps a place in it, with a lease, and its length is how many there
// are. So every driver can count, with what it has anyway.
type processes struct {
	id   string
	seen int
	at   time.Time     // of the last sign of life
	next time.Duration // from at to the next one; 0 at first
}

const (
	presenceLeast = time.Second
	presenceEvery = 10 * time.Second
	presenceLease = 30 * bucket.Second
)

var presenceLimits, _ = bucket.NewLimits(bucket.Quota{Resource: "processes", Limit: 1, Per: bucket.Day})

// sign is a sign of life.
func (p *processes) sign() driver.Request {
	return driver.Request{Key: presence.Key, Limits: presenceLimits, Ops: []bucket.Op{
		{Kind: bucket.Block, Span: bucket.Minute},
		{Kind: bucket.Acquire, Cost: []float64{1}, Place: p.id, Poll: bucket.MicrosOf(presenceEvery), Grace: presenceLease - bucket.MicrosOf(presenceEvery)},
	}}
}

// due says whether it is time for a sign of life.
func (p *processes) due() bool { return time.Since(p.at) >= p.next }

// see takes the answer to a sign of life. While the number changes it looks again soon: a fleet starts at once, and the
// first of it would take itself for the only one.
func (p *processes) see(number int) {
	number = max(1, number)
	if number != p.seen || p.next == 0 {
		p.next = presenceLeast
	} else {
		p.next = min(2*p.next, presenceEvery)
	}
	p.seen, p.at = number, time.Now()
}

// seeAgain takes the first answer after an outage, in which leases ran out: only those count yet who came back before.
// So the number doesn't fall before the next sign of life, which is soon.
func (p *processes) seeAgain(number int) {
	p.seen, p.at, p.next = max(p.seen, number), time.Now(), presenceLeast
}
