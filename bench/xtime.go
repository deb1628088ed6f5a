package main

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The limits of every contest are ordinary ones, with bursts so large that nothing is refused: it is the cost that is
// measured.
const (
	requestsPerMinute = 10_000
	tokensPerMinute   = 2_000_000
	requestsPerDay    = 1_000_000
	requestBurst      = 1e9
	tokenBurst        = 1e12
	inUse             = 1e6 // taken from every bucket beforehand, so that it isn't full, which no bucket in use is

	reservedTokens = 14_000
	usedTokens     = 1_250
)

var errRefused = errors.New("refused, where nothing should be")

// composed is what a user writes by hand today: three limiters, all or nothing by Reserve and Cancel.
type composed struct{ requests, tokens, daily *rate.Limiter }

func newComposed() *composed {
	return &composed{
		requests: rate.NewLimiter(requestsPerMinute/60.0, requestBurst),
		tokens:   rate.NewLimiter(tokensPerMinute/60.0, tokenBurst),
		daily:    rate.NewLimiter(requestsPerDay/86400.0, requestBurst),
	}
}

// use takes of each bucket what doesn't refill while anybody measures.
func (c *composed) use() {
	for _, l := range []*rate.Limiter{c.requests, c.tokens, c.daily} {
		l.AllowN(time.Now(), inUse)
	}
}

// held is what composed.acquire has reserved.
type held struct {
	at                      time.Time
	requests, tokens, daily *rate.Reservation
}

func (c *composed) acquire(tokens int) (held, bool) {
	h := held{at: time.Now()}
	h.requests = c.requests.ReserveN(h.at, 1)
	if !now(h.requests, h.at) {
		return h, false
	}
	h.tokens = c.tokens.ReserveN(h.at, tokens)
	if !now(h.tokens, h.at) {
		h.requests.CancelAt(h.at)
		return h, false
	}
	h.daily = c.daily.ReserveN(h.at, 1)
	if !now(h.daily, h.at) {
		h.requests.CancelAt(h.at)
		h.tokens.CancelAt(h.at)
		return h, false
	}
	return h, true
}

// now says whether a reservation may act at once, and cancels it if not.
func now(r *rate.Reservation, at time.Time) bool {
	if r.OK() && r.DelayFrom(at) == 0 {
		return true
	}
	r.CancelAt(at)
	return false
}

// settle cancels the tokens' reservation and reserves what was really used. A reservation whose time has come can only
// be cancelled as of that time, and even then what others have reserved since is kept back.
func (c *composed) settle(h held, used int) {
	h.tokens.CancelAt(h.at)
	c.tokens.ReserveN(time.Now(), used)
}

// giveBack is a settle that a user may find: a negative AllowN returns exactly what was not used.
func (c *composed) giveBack(h held, used int) { c.tokens.AllowN(time.Now(), used-reservedTokens) }

// table finds a key's limiters, for contests with many.
type table interface{ get(key string) *composed }

// locked is a map with a lock: what is mostly written by hand.
type locked struct {
	mu sync.Mutex
	m  map[string]*composed
}

func (t *locked) get(key string) *composed {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.m[key]
	if c == nil {
		c = newComposed()
		t.m[key] = c
	}
	return c
}

// lockless is a sync.Map.
type lockless struct{ m sync.Map }

func (t *lockless) get(key string) *composed {
	if c, ok := t.m.Load(key); ok {
		return c.(*composed)
	}
	c, _ := t.m.LoadOrStore(key, newComposed())
	return c.(*composed)
}

// refusedOther is refused by the second of three: the first reservation is cancelled.
func refusedOther() (side, error) {
	c := newComposed()
	c.tokens = rate.NewLimiter(reservedTokens/86400.0, reservedTokens)
	if _, ok := c.acquire(reservedTokens); !ok {
		return side{}, errRefused
	}
	return side{
		name: "3 × x/time/rate, Reserve and Cancel",
		run: func(_, n int) error {
			for range n {
				if _, ok := c.acquire(reservedTokens); ok {
					return errGranted
				}
			}
			return nil
		},
	}, nil
}
