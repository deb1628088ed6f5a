package llm

import (
	"context"
	"fmt"

	"github.com/tokenthrottle/throttle"
)

// NoLimit is the limit of what isn't limited.
const NoLimit = -1

// CheckLimit refuses a limit that can only be a mistake: taken for none it would let everything through.
func CheckLimit(field string, limit int) error {
	if limit < NoLimit {
		return &throttle.ArgumentError{Argument: "Limits." + field, Value: limit, Want: "more than 0, or 0, or NoLimit"}
	}
	return nil
}

// CheckBurst refuses a burst that is no part of a limit.
func CheckBurst(part float64) error {
	if !(part >= 0 && part <= 1) {
		return &throttle.ArgumentError{Argument: "Limits.Burst", Value: part, Want: "more than 0 and at most 1, or 0 for the default"}
	}
	return nil
}

// AnyModel is the name in a table for every model that has no entry.
const AnyModel = "*"

// TableModels resolves names by a table of a provider's limits, whose names may be any that family understands. Names of
// one family share its limits, so they can't have different ones.
func TableModels[L comparable](table map[string]L, family func(name string) string, model func(family string, l L) (throttle.Model, error)) throttle.Models {
	type entry struct {
		name   string
		limits L
		model  throttle.Model
		err    error
	}
	entries := make(map[string]entry, len(table))
	for name, limits := range table {
		f := AnyModel
		if name != AnyModel {
			f = family(name)
		}
		e := entry{name: name, limits: limits}
		if other, twice := entries[f]; twice && other.err == nil && other.limits != limits {
			first, second := min(name, other.name), max(name, other.name)
			e.err = &throttle.ArgumentError{Argument: "table", Value: first + " and " + second, Want: fmt.Sprintf("the same limits, since both are %.80q", f)}
		} else if twice {
			e.err = other.err
		}
		if e.err == nil {
			e.model, e.err = model(f, limits)
		}
		entries[f] = e
	}
	return func(_ context.Context, name string) (throttle.Model, error) {
		f := family(name)
		if e, ok := entries[f]; ok {
			return e.model, e.err
		}
		if e, ok := entries[AnyModel]; ok {
			e.model.Family = f
			return e.model, e.err
		}
		return throttle.Model{}, throttle.ErrUnknownModel
	}
}

// FuncModels is TableModels with a function in place of the table.
func FuncModels[L any](limits func(family string) (L, bool), family func(name string) string, model func(family string, l L) (throttle.Model, error)) throttle.Models {
	return func(_ context.Context, name string) (throttle.Model, error) {
		if limits == nil {
			return throttle.Model{}, &throttle.ArgumentError{Argument: "limits", Want: "a function"}
		}
		f := family(name)
		l, ok := limits(f)
		if !ok {
			return throttle.Model{}, throttle.ErrUnknownModel
		}
		return model(f, l)
	}
}
