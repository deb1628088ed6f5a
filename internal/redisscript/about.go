package redisscript

import (
	"errors"
	"sync/atomic"

	"github.com/tokenthrottle/throttle/bucket"
)

// About is the argument that is about the call itself. A client writes an argument of its type anew each time it sends
// the command, so it knows how often that was: from the second time on the call may have been made before, and says so.
// It may be looked at while the client sends.
type About struct {
	// Prefix is how many bytes the key's prefix has.
	Prefix int
	// Retry says that an earlier call may have been made, and Since not before when, by the store's clock.
	Retry bool
	Since bucket.Micros
	// Now, if not nil, replaces the server's clock. For tests.
	Now *bucket.Micros

	sent  atomic.Int64 // how often; below zero: never again
	space [18]byte     // for what is sent
}

// MarshalBinary is called by the client when it sends.
func (a *About) MarshalBinary() ([]byte, error) {
	times := a.sent.Add(1)
	if times <= 0 {
		return nil, ErrWithdrawn
	}
	b := appendUint16(a.space[:0], a.Prefix)
	switch {
	case a.Retry || times > 1:
		b = appendDoubles(b, float64(a.Since))
	case a.Now != nil:
		b = appendDoubles(b, -1)
	}
	if a.Now != nil {
		b = appendDoubles(b, float64(*a.Now))
	}
	return b, nil
}

// Sent returns how often the call has been sent.
func (a *About) Sent() int { return int(max(0, a.sent.Load())) }

// Withdraw keeps the call from being sent, and says whether it was in time: whether it never has been.
func (a *About) Withdraw() bool {
	const never = -1 << 62
	for {
		sent := a.sent.Load()
		if sent < 0 {
			return true
		}
		if sent > 0 {
			return false
		}
		if a.sent.CompareAndSwap(0, never) {
			return true
		}
	}
}

// ErrWithdrawn is what a client gets that sends a call which was withdrawn.
var ErrWithdrawn = errors.New("the call was withdrawn")

// String keeps who prints commands from looking inside.
func (a *About) String() string { return "about" }
