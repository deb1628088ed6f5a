// Package driver is the contract between the limiter and the stores that keep its state, and [Open], which finds a
// driver by URL as database/sql does.
//
// A driver only persists. For each request it reads the state of a key, calls [bucket.State.Apply], and writes the
// state back, in one atomic step: a dozen lines over a map and a mutex, one transaction over a database. All semantics
// come with the arithmetic, and the tests with package conformance.
//
// # Basics
//
// To use a driver, import its package and open it, directly or by URL:
//
//	import _ "github.com/tokenthrottle/throttle/driver/bolt"
//
//	d, err := driver.Open(ctx, "bolt:///var/lib/app/limits.db?timeout=2s")
//
// To write one, implement [Driver] and run conformance.Run against it; docs/writing-a-driver.md has a complete one.
//
// # Caveats
//
// Programs that share a key share its limits only if they name the same store: the same URL, database and prefix. A driver
// that is imported is linked, with its client: import those that are used, and no others. A store's clock is the clock:
// one that is set ahead refills buckets by up to a burst.
package driver

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/tokenthrottle/throttle/bucket"
)

// Driver keeps the state of keys. Its methods are safe for concurrent use.
type Driver interface {
	// Apply carries out each request against the state of its key and returns a response for each, in order.
	//
	// Atomic: a request is applied wholly or not at all, and no other request on its key is applied between reading
	// and writing the state. Requests of a batch need not be atomic together. A key may appear more than once in a
	// batch; its requests are applied in the order given.
	//
	// Clock: every process that shares the store must see one clock, so it is the store's; the program's own only where
	// no other program can share the state. A clock that steps back must mint nothing: [bucket.State.Apply] sees to it
	// when it is given the clock as it is.
	//
	// Exactly once, or reported: if a connection breaks after the store did the work, the driver recognises the
	// repeated batch ([Namer]; the state remembers names) or returns [ErrUnknownOutcome]. It never applies twice.
	// A repeat tries anew what was refused then, so a repeated request may take effect in two steps.
	//
	// Refusals are values in [bucket.Result]; an error is about the store (or the caller's ctx), and then either no
	// request of the batch was applied, or the error matches ErrUnknownOutcome. Requests that [Check] refuses are
	// refused with its error.
	//
	// Context: when ctx ends, Apply returns promptly, each request wholly applied or not at all. It returns ctx's error
	// if it is sure that nothing was applied and ErrUnknownOutcome, wrapping ctx's error, otherwise.
	//
	// Forgetting: a key may be dropped once [bucket.State.AbsentAt] has passed, never sooner. After Close, Apply
	// returns [ErrClosed].
	//
	// Apply keeps neither the batch nor anything it points to after it has returned, and the responses share nothing
	// with the driver.
	Apply(ctx context.Context, batch []Request) ([]Response, error)

	// Close frees what the driver holds: it waits for what is under way, and leaves the store to others. Closing twice
	// is no error. A driver that was given a client by the user doesn't close that client.
	Close() error
}

// Request is work on one key.
type Request struct {
	// Key is any string of up to [MaxKey] bytes: empty, with NULs, not UTF-8. Different keys never share state.
	Key string
	// Limits are the key's quotas as the caller knows them; nil for none, see [bucket.Request].
	Limits *bucket.Limits
	// Ops are applied in order, as one.
	Ops []bucket.Op
}

// Response is what became of a [Request].
type Response struct {
	// Now is the store's clock at which the request was applied.
	Now bucket.Micros
	// Results has one entry for each operation.
	Results []bucket.Result
	// Absent says that the store held no state for the key before. That is how every key starts and what a key that
	// refilled goes back to; earlier, it means that the store lost it.
	Absent bool
	// AbsentAt is when the key will equal an absent one, see [bucket.State.AbsentAt].
	AbsentAt bucket.Micros
	// Waiting is the length of the key's line after the request.
	Waiting int
}

// MaxKey is the longest key, in bytes, that every driver accepts.
const MaxKey = 16 << 10

// Errors that drivers return; test with errors.Is.
var (
	// ErrClosed: the driver was closed.
	ErrClosed = errors.New("driver: closed")
	// ErrUnknownOutcome: the store can't say whether the batch was applied. Whoever gets it must assume the worse: what
	// was to be debited was, what was to be credited wasn't.
	ErrUnknownOutcome = errors.New("driver: outcome unknown")
)

// KeyError is what [Check] returns for a key that is too long.
type KeyError struct{ Len int }

func (e *KeyError) Error() string {
	return fmt.Sprintf("driver: key of %d bytes: at most %d are allowed", e.Len, MaxKey)
}

// StoreError wraps what the store or its client returned, with what the driver was doing and, where there is one, a
// remedy. Unwrap gives the client's own error.
type StoreError struct {
	Driver string // "redis", "postgres", "bolt"
	Doing  string // "apply", "open", "migrate"
	Remedy string // what to do, a clause; may be empty
	Err    error
}

func (e *StoreError) Error() string {
	text := fmt.Sprintf("driver/%s: %s: %v", e.Driver, e.Doing, e.Err)
	if e.Remedy != "" {
		text += ": " + e.Remedy
	}
	return text
}

// Unwrap returns the client's error.
func (e *StoreError) Unwrap() error { return e.Err }

// Check returns the error that a driver refuses a batch with before it touches the store, or nil.
func Check(batch []Request) error {
	for i := range batch {
		if len(batch[i].Key) > MaxKey {
			return &KeyError{len(batch[i].Key)}
		}
	}
	return nil
}

// Local is implemented by a driver that lives in the process and never blocks on anything but a short lock. The limiter
// then does the arithmetic where the state is ([Do]) instead of sending batches.
type Local interface {
	Driver
	// Pin returns the way to one key, which is at most [MaxKey] bytes long. It holds no resource: whoever has it may
	// just drop it, and the key's state may be forgotten, and begin anew, under it.
	Pin(key string) Pinned
	// Now is the driver's clock, the one that Apply goes by. It may be read with or without a key's lock.
	Now() bucket.Micros
}

// Pinned is one key of a [Local] driver, however often it was pinned. [Do] and [ApplyLocal] are how to use it.
type Pinned interface {
	// Lock waits until nobody else uses the key, and lends its state until Unlock: the zero one if the key isn't held.
	// The only error is ErrClosed; nothing is locked then.
	Lock() (*bucket.State, error)
	// Unlock gives the state back. freed says that an operation [Frees] something, which a [Notifier] tells of.
	Unlock(freed bool)
}

// Lister is implemented by a driver that can say which keys it holds.
type Lister interface {
	// Keys yields every key that was there throughout the call, each at least once, in no order. An error ends the
	// sequence.
	Keys(ctx context.Context) iter.Seq2[string, error]
}

// Notifier is implemented by a driver that can tell when one who waits in line would be granted.
type Notifier interface {
	// Notify calls ready, on one goroutine at a time, with a key and each place ([bucket.State.Ready]) that a request in
	// any process has made room for: one in which an operation [Frees] something while the key's line was not empty.
	// Calls may be missed and may be spurious; polling is what can be relied on. ready doesn't block and doesn't call
	// the driver. Notify returns when the subscription stands; stop ends it and waits for a call under way.
	Notify(ctx context.Context, ready func(key, place string)) (stop func(), err error)
}

// Frees says whether an operation can make room for somebody who waits: what a [Notifier] tells of.
func Frees(op *bucket.Op, res *bucket.Result) bool {
	switch op.Kind {
	case bucket.Adjust, bucket.Leave, bucket.SetLimit, bucket.ClearLimit, bucket.Block, bucket.Observe:
		return res.Status == bucket.Done
	}
	return false
}
