package throttle

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/internal/period"
)

// Errors to be told apart with errors.Is.
var (
	// ErrClosed: the limiter was closed, before or while the call waited.
	ErrClosed = errors.New("throttle: limiter is closed")
	// ErrSettled: the reservation was settled or cancelled before; nothing was changed.
	ErrSettled = errors.New("throttle: reservation is already settled")
	// ErrNoCapacity: not now. The error is a [*CapacityError].
	ErrNoCapacity = errors.New("throttle: no capacity now")
	// ErrUnknownModel: [Table] doesn't list the model.
	ErrUnknownModel = errors.New("not in the table of models")
	// ErrNoCounter: AcquireFor was called for a model without a [Counter].
	ErrNoCounter = errors.New("the model has no usage counter")
	// ErrNoQuotas: a [Model] has neither quotas nor Unlimited.
	ErrNoQuotas = errors.New("the model has no quotas: give it some, or say Unlimited")
)

// CapacityError is returned, without waiting, by [Limiter.TryAcquire] when the usage doesn't fit now. It matches
// [ErrNoCapacity].
type CapacityError struct {
	Model, Family string
	// Resource and Per are the quota that binds; an empty Resource means that the family is paused.
	Resource string
	Per      time.Duration
	// RetryAfter is when it will fit, nothing else happening.
	RetryAfter time.Duration
	// Place is where in the family's line the call would stand, 1 for the front.
	Place int
}

func (e *CapacityError) Error() string {
	what := "paused"
	if e.Resource != "" {
		what = fmt.Sprintf("%s per %s exhausted", e.Resource, period.String(e.Per))
	}
	return fmt.Sprintf("throttle: %s: %s, place %d in line, retry in %v", shown(e.Family), what, e.Place, e.RetryAfter)
}

// Is makes the error match [ErrNoCapacity].
func (e *CapacityError) Is(target error) bool { return target == ErrNoCapacity }

// DeadlineError is returned by an acquire with [FailFast] that could not be granted before its context's deadline. It
// matches [context.DeadlineExceeded]; that the deadline hasn't passed yet is what tells it from the real one.
type DeadlineError struct {
	CapacityError
	Deadline time.Time
}

func (e *DeadlineError) Error() string {
	return fmt.Sprintf("throttle: %s: the wait of %v would pass the deadline", shown(e.Family), e.RetryAfter)
}

// Is makes the error match [context.DeadlineExceeded] and [ErrNoCapacity].
func (e *DeadlineError) Is(target error) bool {
	return target == context.DeadlineExceeded || target == ErrNoCapacity
}

// TooLargeError says that a usage can never be granted: it is above a bucket's burst.
type TooLargeError struct {
	Model, Family string
	Resource      string
	Per           time.Duration
	// Usage is what was asked for and Burst the most that there can be, in units; 0 if what is in force was set at run
	// time, by [Limiter.SetLimit] or a provider's word, and [Limiter.Status] tells it.
	Usage, Burst float64
}

func (e *TooLargeError) Error() string {
	who, usage, per := shown(e.Family), units(e.Usage), period.String(e.Per)
	if e.Burst == 0 {
		return fmt.Sprintf("throttle: %s: %s %s at once can never fit into the limit per %s that was set at run time: ask for less, or raise or clear that limit", who, usage, e.Resource, per)
	}
	return fmt.Sprintf("throttle: %s: %s %s at once can never fit into %s per %s: ask for less, or raise the burst", who, usage, e.Resource, units(e.Burst), per)
}

// UsageError says that an amount can't be counted.
type UsageError struct {
	Model, Family string
	Resource      string
	Amount        float64
	// Known are the resources that the family limits, if Resource is not one of them; nil if the amount is at fault.
	Known []string
}

func (e *UsageError) Error() string {
	if e.Known != nil {
		return fmt.Sprintf("throttle: %s: no quota limits %q: its resources are %s", shown(e.Family), e.Resource, strings.Join(e.Known, ", "))
	}
	return fmt.Sprintf("throttle: %s: usage of %s %s: want 0 to %g", shown(e.Family), units(e.Amount), e.Resource, float64(bucket.MaxUnits))
}

// ModelError says that a model could not be resolved, or was resolved to something that can't be used.
type ModelError struct {
	Model string
	Err   error
}

func (e *ModelError) Error() string { return fmt.Sprintf("throttle: model %.200q: %v", e.Model, e.Err) }

// Unwrap returns the reason.
func (e *ModelError) Unwrap() error { return e.Err }

// ArgumentError says that an argument other than a usage is out of range.
type ArgumentError struct {
	Argument string // "flow", "weight", "pause"
	Value    any
	Want     string
}

func (e *ArgumentError) Error() string {
	value := fmt.Sprint(e.Value)
	if text, ok := e.Value.(string); ok {
		value = strconv.Quote(text) // it may be anybody's
	}
	return fmt.Sprintf("throttle: %s is %.200s: want %s", e.Argument, value, e.Want)
}

// FullError says that a bound on the limiter's own cost was reached: see [MaxWaiters] and [MaxFamilies].
type FullError struct {
	What string // "waiters" or "families"
	Max  int
	// Shed says that the call was waiting and made room for one of higher priority.
	Shed bool
}

func (e *FullError) Error() string {
	if e.Shed {
		return fmt.Sprintf("throttle: made room for a call of higher priority: there are %d %s already", e.Max, e.What)
	}
	return fmt.Sprintf("throttle: there are %d %s already: raise the limit, or slow down", e.Max, e.What)
}

// StoreError says that the driver failed. Unwrap gives its error: a *driver.StoreError, driver.ErrUnknownOutcome (the call
// may have changed something), or what a third party's driver returns. Without ErrUnknownOutcome nothing was changed.
type StoreError struct {
	Doing  string // "acquire", "settle", …
	Family string
	Err    error
}

func (e *StoreError) Error() string {
	return fmt.Sprintf("throttle: %s %s: %v", e.Doing, shown(e.Family), e.Err)
}

// Unwrap returns the driver's error.
func (e *StoreError) Unwrap() error { return e.Err }

// shown is a family's name as an error says it: quoted, and cut off, if it could be taken for more than a name. It may be anybody's.
func shown(family string) string {
	if family == "" || bucket.ValidName(family) {
		return family
	}
	return fmt.Sprintf("%.200q", family)
}

// units writes an amount as a person does, 1500000 and not 1.5e+06.
func units(amount float64) string { return strconv.FormatFloat(amount, 'f', -1, 64) }
