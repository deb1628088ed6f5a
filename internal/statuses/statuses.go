// Package statuses looks at all families of a limiter at once, for what exports or shows them.
package statuses

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/tokenthrottle/throttle"
)

// Look is what one look at a limiter saw.
type Look struct {
	// Statuses are in order of family.
	Statuses []throttle.Status
	// Failed is how many families could not be looked at, and Err one of the reasons.
	Failed int
	Err    error
	// Omitted is how many families were left out, being more than the most that was asked for.
	Omitted int
}

// atOnce is how many families are asked for at the same time: they go to a shared store in one batch.
const atOnce = 32

// Of looks at the families of models, and, where all is set, at those that the limiter has seen: at most most of them,
// in order of name. A family that is forgotten meanwhile, or unlimited, is left out.
func Of(ctx context.Context, l *throttle.Limiter, models []string, all bool, most int) Look {
	var look Look
	byFamily := map[string]string{} // family → the model it is asked for by; empty for one that was seen
	for _, model := range models {
		m, err := l.Model(ctx, model)
		switch {
		case err != nil:
			look.Failed++
			look.Err = err
		case !m.Unlimited:
			byFamily[m.Family] = model
		}
	}
	if all {
		for _, family := range l.Families() {
			if _, ok := byFamily[family]; !ok {
				byFamily[family] = ""
			}
		}
	}
	families := make([]string, 0, len(byFamily))
	for family := range byFamily {
		families = append(families, family)
	}
	slices.Sort(families)
	if len(families) > most {
		look.Omitted = len(families) - most
		families = families[:most]
	}

	statuses := make([]throttle.Status, len(families))
	errs := make([]error, len(families))
	var wg sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i, family := range families {
		free <- struct{}{}
		wg.Go(func() {
			if model := byFamily[family]; model != "" {
				statuses[i], errs[i] = l.Status(ctx, model)
			} else {
				statuses[i], errs[i] = l.FamilyStatus(ctx, family)
			}
			<-free
		})
	}
	wg.Wait()
	for i, err := range errs {
		var gone *throttle.ArgumentError
		switch {
		case err == nil:
			look.Statuses = append(look.Statuses, statuses[i])
		case !errors.As(err, &gone):
			look.Failed++
			look.Err = err
		}
	}
	return look
}
