package throttle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// Limiter keeps callers under the quotas of the models they call. It is made by [New] and safe for concurrent use.
type Limiter struct {
	driver driver.Driver
	local  driver.Local // the driver, if it lives in the process
	models Models
	config
	id string // tells this limiter's places and default flow from all others'

	closed  atomic.Bool
	waiters atomic.Int64
	serial  atomic.Uint64
	err     error // an option was out of range: every call returns it

	families families
	lastPlan atomic.Pointer[plan] // families with the same quotas share their plan

	hooks   atomic.Pointer[Hooks] // those of WithHooks and of Watch, joined
	watchMu sync.Mutex
	watches []*Hooks

	flusher  flusher
	notifier notifier
	teller   teller
	spare    sync.Pool // of *waiter
}

// New returns a limiter that keeps its state in d. It starts nothing and calls nothing; a driver's trouble shows at the
// first call, and so does an option that is out of range; a nil option is none. The driver stays the caller's: one may
// serve several limiters, and [Limiter.Close] leaves it open.
func New(d driver.Driver, models Models, options ...Option) *Limiter {
	l := &Limiter{
		driver: d, models: models, id: rand.Text()[:16],
		config: config{
			maxWaiters: 1_000_000, maxFamilies: 100_000,
			grace: 2 * time.Second, storeTimeout: 5 * time.Second,
		},
	}
	l.call = call{flow: l.id, weight: 1}
	for _, o := range options {
		if o != nil {
			o.apply(&l.config)
		}
	}
	l.joinHooks()
	l.err = l.validate()
	switch {
	case d == nil:
		l.err = &ArgumentError{"driver", d, "a driver, such as memory.New()"}
	case models == nil:
		l.err = &ArgumentError{"models", nil, "a function, such as Static"}
	}
	l.local, _ = d.(driver.Local)
	return l
}

// interval is the longest time after which one who waits asks a shared store again: what the user said, or a second
// while the driver tells of places that are ready, and less while it doesn't.
func (l *Limiter) interval() time.Duration {
	switch {
	case l.poll > 0:
		return l.poll
	case l.notifier.active():
		return time.Second
	}
	return 100 * time.Millisecond
}

// begin checks what every call checks first, and finds the model's family. The caller doesn't change the call it gets:
// without options it is the limiter's own, since a copy would be an allocation.
func (l *Limiter) begin(ctx context.Context, model string, options []CallOption) (*family, *plan, *call, error) {
	c := &l.call
	if len(options) > 0 {
		c = new(call)
		*c = l.call
		for _, o := range options {
			if o != nil {
				o(c)
			}
		}
	}
	if c.err != nil {
		return nil, nil, c, c.err
	}
	if l.err != nil {
		return nil, nil, c, l.err
	}
	if l.closed.Load() {
		return nil, nil, c, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, c, err
	}
	f, p, err := l.resolve(ctx, model)
	return f, p, c, err
}

// plan is a family's quotas, ready for the arithmetic.
type plan struct {
	quotas    []Quota
	limits    *bucket.Limits
	unlimited bool
}

var unlimitedPlan = &plan{unlimited: true}

func (p *plan) serves(quotas []Quota) bool {
	if len(p.quotas) != len(quotas) {
		return false
	}
	return len(quotas) == 0 || &p.quotas[0] == &quotas[0] || slices.Equal(p.quotas, quotas)
}

// resolve turns a model name into its family and the plan it is to be used with.
func (l *Limiter) resolve(ctx context.Context, model string) (*family, *plan, error) {
	m, err := l.models(ctx, model)
	if err != nil {
		return nil, nil, &ModelError{model, err}
	}
	if m.Unlimited {
		return nil, unlimitedPlan, nil
	}
	if len(m.Quotas) == 0 {
		return nil, nil, &ModelError{model, ErrNoQuotas}
	}
	name := m.family(model)
	f := l.families.get(name)
	if f == nil {
		var key *driver.KeyError
		if f, err = l.families.add(l, name); errors.As(err, &key) {
			return nil, nil, &ModelError{model, fmt.Errorf("the family's name is too long, give it a shorter one: %w", err)}
		} else if err != nil {
			return nil, nil, err
		}
	}
	if !f.used.Load() {
		f.used.Store(true)
	}
	p := f.plan.Load()
	if p == nil || !p.serves(m.Quotas) {
		if p = l.lastPlan.Load(); p == nil || !p.serves(m.Quotas) {
			if p, err = newPlan(m.Quotas); err != nil {
				return nil, nil, &ModelError{model, err}
			}
			l.lastPlan.Store(p)
		}
		f.plan.Store(p)
		if l.local != nil && f.waiting.Load() > 0 {
			f.replanned()
		}
	}
	return f, p, nil
}

func newPlan(quotas []Quota) (*plan, error) {
	list := make([]bucket.Quota, len(quotas))
	for i, q := range quotas {
		list[i] = q.bucket()
	}
	limits, err := bucket.NewLimits(list...)
	if err != nil {
		return nil, err
	}
	return &plan{quotas: quotas, limits: limits}, nil
}

// newPlace names a place in a line like no other limiter does.
func (l *Limiter) newPlace() string { return l.id + "." + strconv.FormatUint(l.serial.Add(1), 36) }

// Close ends the waits of all calls with [ErrClosed], leaves every line, and refuses new calls. Reservations can still
// be settled. It waits until the store has taken the leaving, at most two store timeouts (one for what is under way, one for
// the leaving), and doesn't close the driver.
func (l *Limiter) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	for _, f := range l.families.list() {
		f.close()
	}
	l.notifier.close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*l.storeTimeout)
	defer cancel()
	l.flusher.wait(ctx.Done())
	l.teller.wait(ctx.Done())
	return nil
}
