package tally

import (
	"context"
	"errors"
	"sync"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

// store is what is counted of the round trips to the store.
type store struct {
	mu                         sync.Mutex
	took, families, operations *Histogram
	errors                     map[string]uint64
}

// Store is what was counted of the round trips to the store.
type Store struct {
	// Took is in seconds, of those that failed too; Families and Operations are what was in a batch that was answered.
	Took, Families, Operations *Histogram
	// Errors are by kind.
	Errors map[string]uint64
}

// StoreErrors are the kinds of a store's errors.
var StoreErrors = []string{"closed", "timeout", "unknown_outcome", Other}

// StoreErrorKind is one of [StoreErrors].
func StoreErrorKind(err error) string {
	switch {
	case errors.Is(err, driver.ErrUnknownOutcome):
		return "unknown_outcome"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, driver.ErrClosed):
		return "closed"
	}
	return Other
}

func (s *store) ready() {
	if s.took == nil {
		s.took, s.families, s.operations = newHistogram(StoreBounds), newHistogram(BatchBounds), newHistogram(BatchBounds)
		s.errors = map[string]uint64{}
	}
}

func (s *store) answered(i *throttle.StoreAnsweredInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready()
	s.took.observe(i.Took.Seconds())
	s.families.observe(float64(i.Families))
	s.operations.observe(float64(i.Operations))
}

func (s *store) failed(i *throttle.StoreErrorInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready()
	if i.Families > 0 { // else it was no batch
		s.took.observe(i.Took.Seconds())
	}
	s.errors[StoreErrorKind(i.Err)]++
}

// Store returns what was counted of the store.
func (t *Tally) Store() Store {
	s := &t.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready()
	out := Store{Took: s.took.clone(), Families: s.families.clone(), Operations: s.operations.clone(), Errors: map[string]uint64{}}
	for _, kind := range StoreErrors {
		out.Errors[kind] = s.errors[kind]
	}
	return out
}
