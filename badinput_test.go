package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

// badInput is one public function given one kind of bad argument: what it returns must match want (a pointer to an
// error type, or a sentinel), and the store must be as before.
type badInput struct {
	function string // as its declaration names it: "Limiter.Acquire", "Flow"
	what     string
	call     func(ctx context.Context, l *throttle.Limiter) error
	want     any
}

// bad usages, and what they give, are the same wherever a usage is taken.
func badUsages(function string, call func(ctx context.Context, l *throttle.Limiter, u throttle.Usage) error) []badInput {
	var list []badInput
	for what, u := range map[string]throttle.Usage{
		"a negative amount":   {"tokens": -1},
		"a NaN amount":        {"tokens": math.NaN()},
		"an infinite amount":  {"tokens": math.Inf(1)},
		"a huge amount":       {"tokens": 1e300},
		"an unknown resource": {"bananas": 1},
		"an empty resource":   {"": 1},
	} {
		list = append(list, badInput{function, what, func(ctx context.Context, l *throttle.Limiter) error { return call(ctx, l, u) }, new(*throttle.UsageError)})
	}
	return list
}

// badCalls are what goes wrong with any call that names a model.
func badCalls(function string, call func(ctx context.Context, l *throttle.Limiter, model string, options ...throttle.CallOption) error, options bool) []badInput {
	at := func(model string, options ...throttle.CallOption) func(context.Context, *throttle.Limiter) error {
		return func(ctx context.Context, l *throttle.Limiter) error { return call(ctx, l, model, options...) }
	}
	list := []badInput{
		{function, "a model that isn't listed", at("other"), new(*throttle.ModelError)},
		{function, "an empty model name", at(""), new(*throttle.ModelError)},
		{function, "a model without quotas", at("empty"), throttle.ErrNoQuotas},
		{function, "a model with a negative limit", at("negative"), new(*throttle.ModelError)},
		{function, "a model with a NaN limit", at("nan"), new(*throttle.ModelError)},
		{function, "a model with a quota twice", at("twice"), new(*throttle.ModelError)},
		{function, "a model with a period of 0", at("instant"), new(*throttle.ModelError)},
		{function, "a family name of a megabyte", at("long"), new(*throttle.ModelError)},
		{function, "a family name beyond what a driver takes", at("long"), new(*driver.KeyError)},
	}
	if options {
		list = append(list,
			badInput{function, "an empty flow", at("m", throttle.Flow("", 1)), new(*throttle.ArgumentError)},
			badInput{function, "a flow with a control character", at("m", throttle.Flow("a\x00b", 1)), new(*throttle.ArgumentError)},
			badInput{function, "a weight of 0", at("m", throttle.Flow("a", 0)), new(*throttle.ArgumentError)},
			badInput{function, "a weight that is too small", at("m", throttle.Flow("a", math.Nextafter(1e-6, 0))), new(*throttle.ArgumentError)},
			badInput{function, "a weight that is too large", at("m", throttle.Flow("a", math.Nextafter(1e6, 2e6))), new(*throttle.ArgumentError)},
			badInput{function, "a NaN weight", at("m", throttle.Flow("a", math.NaN())), new(*throttle.ArgumentError)},
			badInput{function, "a priority beyond 32 bits", at("m", throttle.Priority(math.MaxInt64)), new(*throttle.ArgumentError)},
		)
	}
	return list
}

// badOption is a limiter made with an option out of range: its every call says so.
func badOption(function, what string, option throttle.Option) badInput {
	return badInput{function, what, func(ctx context.Context, _ *throttle.Limiter) error {
		l := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 1)), option)
		defer l.Close()
		_, err := l.Acquire(ctx, "m", nil)
		return err
	}, new(*throttle.ArgumentError)}
}

func badInputs() []badInput {
	try := func(ctx context.Context, l *throttle.Limiter, model string, u throttle.Usage, options ...throttle.CallOption) error {
		_, err := l.TryAcquire(ctx, model, u, options...)
		return err
	}
	acquire := func(ctx context.Context, l *throttle.Limiter, model string, u throttle.Usage, options ...throttle.CallOption) error {
		_, err := l.Acquire(ctx, model, u, options...)
		return err
	}
	do := func(ctx context.Context, l *throttle.Limiter, model string, u throttle.Usage, options ...throttle.CallOption) error {
		return l.Do(ctx, model, u, func(context.Context) (throttle.Usage, error) { panic("called in spite of a bad argument") }, options...)
	}
	one := throttle.Usage{"tokens": 1}
	var list []badInput
	for function, call := range map[string]func(context.Context, *throttle.Limiter, string, throttle.Usage, ...throttle.CallOption) error{
		"Limiter.Acquire": acquire, "Limiter.TryAcquire": try, "Limiter.Do": do,
		"Limiter.Record": func(ctx context.Context, l *throttle.Limiter, model string, u throttle.Usage, options ...throttle.CallOption) error {
			return l.Record(ctx, model, u, options...)
		},
		"Limiter.AcquireFor": func(ctx context.Context, l *throttle.Limiter, model string, u throttle.Usage, options ...throttle.CallOption) error {
			_, err := l.AcquireFor(ctx, model, u, nil, options...) // the table's counter takes a Usage
			return err
		},
	} {
		list = append(list, badUsages(function, func(ctx context.Context, l *throttle.Limiter, u throttle.Usage) error { return call(ctx, l, "m", u) })...)
		list = append(list, badCalls(function, func(ctx context.Context, l *throttle.Limiter, model string, options ...throttle.CallOption) error {
			return call(ctx, l, model, one, options...)
		}, true)...)
		if function != "Limiter.Record" { // it may go beyond the burst
			list = append(list, badInput{function, "more than the burst", func(ctx context.Context, l *throttle.Limiter) error {
				return call(ctx, l, "m", throttle.Usage{"tokens": 1001})
			}, new(*throttle.TooLargeError)})
		}
	}
	for function, call := range map[string]func(context.Context, *throttle.Limiter, string) error{
		"Limiter.Status": func(ctx context.Context, l *throttle.Limiter, model string) error {
			_, err := l.Status(ctx, model)
			return err
		},
		"Limiter.SetLimit": func(ctx context.Context, l *throttle.Limiter, model string) error {
			return l.SetLimit(ctx, model, throttle.PerMinute("tokens", 5))
		},
		"Limiter.ClearLimit": func(ctx context.Context, l *throttle.Limiter, model string) error {
			return l.ClearLimit(ctx, model, "tokens", time.Minute)
		},
		"Limiter.Pause": func(ctx context.Context, l *throttle.Limiter, model string) error {
			return l.Pause(ctx, model, time.Second)
		},
		"Limiter.Observe": func(ctx context.Context, l *throttle.Limiter, model string) error {
			return l.Observe(ctx, model, throttle.Observation{Resource: "tokens", Remaining: 1})
		},
	} {
		list = append(list, badCalls(function, func(ctx context.Context, l *throttle.Limiter, model string, _ ...throttle.CallOption) error {
			return call(ctx, l, model)
		}, false)...)
	}
	argument := new(*throttle.ArgumentError)
	for what, q := range map[string]throttle.Quota{
		"a negative limit": throttle.PerMinute("tokens", -1), "a NaN limit": throttle.PerMinute("tokens", math.NaN()),
		"a limit of 0": throttle.PerMinute("tokens", 0), "an infinite burst": throttle.PerMinute("tokens", 1).WithBurst(math.Inf(1)),
		"a quota that isn't there": throttle.PerHour("tokens", 1), "a resource that isn't there": throttle.PerMinute("bananas", 1),
		"the zero Quota": {},
	} {
		list = append(list, badInput{"Limiter.SetLimit", what, func(ctx context.Context, l *throttle.Limiter) error { return l.SetLimit(ctx, "m", q) }, argument})
	}
	reserve := func(ctx context.Context, l *throttle.Limiter) *throttle.Reservation {
		r, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 0})
		if err != nil {
			panic(err)
		}
		return r
	}
	list = append(list, badUsages("Reservation.Settle", func(ctx context.Context, l *throttle.Limiter, u throttle.Usage) error {
		return reserve(ctx, l).Settle(ctx, u)
	})...)
	settled := func(settle func(context.Context, *throttle.Reservation) error) func(context.Context, *throttle.Limiter) error {
		return func(ctx context.Context, l *throttle.Limiter) error {
			r := reserve(ctx, l)
			if err := r.Settle(ctx, nil); err != nil {
				return err
			}
			return settle(ctx, r)
		}
	}
	return append(list,
		badInput{"Reservation.Settle", "settled before", settled(func(ctx context.Context, r *throttle.Reservation) error {
			return r.Settle(ctx, throttle.Usage{"tokens": 0})
		}), throttle.ErrSettled},
		badInput{"Reservation.Cancel", "settled before", settled(func(ctx context.Context, r *throttle.Reservation) error { return r.Cancel(ctx) }), throttle.ErrSettled},
		badInput{"Limiter.Model", "a model that isn't listed", func(ctx context.Context, l *throttle.Limiter) error {
			_, err := l.Model(ctx, "other")
			return err
		}, new(*throttle.ModelError)},
		badInput{"Limiter.AcquireFor", "a model without a counter", func(ctx context.Context, l *throttle.Limiter) error {
			_, err := l.AcquireFor(ctx, "uncounted", nil, nil)
			return err
		}, throttle.ErrNoCounter},
		badInput{"Limiter.AcquireFor", "a bad extra", func(ctx context.Context, l *throttle.Limiter) error {
			_, err := l.AcquireFor(ctx, "m", one, throttle.Usage{"bananas": 1})
			return err
		}, new(*throttle.UsageError)},
		badInput{"Limiter.FamilyStatus", "a family that isn't there", func(ctx context.Context, l *throttle.Limiter) error {
			_, err := l.FamilyStatus(ctx, "other")
			return err
		}, argument},
		badInput{"Limiter.Pause", "a negative pause", func(ctx context.Context, l *throttle.Limiter) error { return l.Pause(ctx, "m", -1) }, argument},
		badInput{"Limiter.ClearLimit", "a quota that isn't there", func(ctx context.Context, l *throttle.Limiter) error { return l.ClearLimit(ctx, "m", "tokens", 0) }, argument},
		badInput{"Limiter.Observe", "a NaN limit", func(ctx context.Context, l *throttle.Limiter) error {
			return l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Limit: math.NaN()})
		}, argument},
		badInput{"Limiter.Observe", "an infinite rest", func(ctx context.Context, l *throttle.Limiter) error {
			return l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: math.Inf(-1)})
		}, argument},
		badInput{"Scale", "a share above 1", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.Scale(throttle.Static(throttle.PerDay("tokens", 1)), "x", 1.5)(ctx, "m")
			return err
		}, new(*throttle.ArgumentError)},
		badInput{"Scale", "a NaN share", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.Scale(throttle.Static(throttle.PerDay("tokens", 1)), "x", math.NaN())(ctx, "m")
			return err
		}, new(*throttle.ArgumentError)},
		badOption("MaxWaiters", "0", throttle.MaxWaiters(0)),
		badOption("MaxFamilies", "0", throttle.MaxFamilies(0)),
		badOption("PollInterval", "a negative interval", throttle.PollInterval(-1)),
		badOption("LeaseGrace", "a negative grace", throttle.LeaseGrace(-1)),
		badOption("StoreTimeout", "0", throttle.StoreTimeout(0)),
		badOption("Flow", "an empty name", throttle.Flow("", 1)),
		badOption("Priority", "beyond 32 bits", throttle.Priority(math.MinInt64)),
		badInput{"Scale", "an empty name", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.Scale(throttle.Static(throttle.PerDay("tokens", 1)), "", 1)(ctx, "m")
			return err
		}, argument},
		badInput{"Scale", "a name with the separator", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.Scale(throttle.Static(throttle.PerDay("tokens", 1)), "a@b", 1)(ctx, "m")
			return err
		}, argument},
		badInput{"Scale", "no models", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.Scale(nil, "x", 0.5)(ctx, "m")
			return err
		}, argument},
		badInput{"Limiter.Do", "no function", func(ctx context.Context, l *throttle.Limiter) error { return l.Do(ctx, "m", one, nil) }, argument},
		badInput{"New", "a nil option", func(ctx context.Context, _ *throttle.Limiter) error {
			l := throttle.New(still(), throttle.Unlimited(), nil, throttle.CallOption(nil), throttle.MaxFamilies(-1))
			_, err := l.Acquire(ctx, "m", nil, nil)
			return err
		}, argument},
		badInput{"New", "no driver", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.New(nil, throttle.Unlimited()).Acquire(ctx, "m", nil)
			return err
		}, argument},
		badInput{"New", "no models", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.New(still(), nil).Acquire(ctx, "m", nil)
			return err
		}, argument},
		badInput{"Limiter.AcquireFor", "no models", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.New(still(), nil).AcquireFor(ctx, "m", nil, nil)
			return err
		}, argument},
		badInput{"Limiter.Model", "no models", func(ctx context.Context, _ *throttle.Limiter) error {
			_, err := throttle.New(still(), nil).Model(ctx, "m")
			return err
		}, argument},
	)
}

func TestBadInput(t *testing.T) {
	quotas := []throttle.Quota{throttle.PerMinute("tokens", 1000)}
	count := func(_ context.Context, _ string, request any) (throttle.Usage, error) {
		return request.(throttle.Usage), nil
	}
	models := throttle.Table(map[string]throttle.Model{
		"m":         {Quotas: quotas, Counter: count},
		"uncounted": {Quotas: quotas},
		"empty":     {Counter: count},
		"negative":  {Quotas: []throttle.Quota{throttle.PerMinute("tokens", -1)}, Counter: count},
		"nan":       {Quotas: []throttle.Quota{throttle.PerMinute("tokens", math.NaN())}, Counter: count},
		"twice":     {Quotas: []throttle.Quota{quotas[0], quotas[0]}, Counter: count},
		"instant":   {Quotas: []throttle.Quota{{Resource: "tokens", Limit: 1}}, Counter: count},
		"long":      {Family: strings.Repeat("x", 1<<20), Quotas: quotas, Counter: count},
	})
	for _, c := range badInputs() {
		t.Run(c.function+"/"+c.what, func(t *testing.T) {
			l := throttle.New(still(), models)
			defer l.Close()
			if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 300}); err != nil {
				t.Fatal(err)
			}
			before, err := l.Status(t.Context(), "m")
			if err != nil {
				t.Fatal(err)
			}
			err = c.call(t.Context(), l)
			matches := false
			if sentinel, ok := c.want.(error); ok {
				matches = errors.Is(err, sentinel)
			} else {
				matches = err != nil && errors.As(err, c.want)
			}
			if !matches {
				t.Errorf("error %v (%T), want one that matches %T", err, err, c.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "throttle: ") && !strings.HasPrefix(err.Error(), "driver: ") {
				t.Errorf("error %q doesn't say where it comes from", err)
			}
			after, err := l.Status(t.Context(), "m")
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(before) != fmt.Sprint(after) {
				t.Errorf("the state changed\nfrom %+v\nto   %+v", before, after)
			}
		})
	}
}

// cannotBeWrong are the public functions whose every argument is good, with the reason.
var cannotBeWrong = map[string]string{
	"PerSecond": "a bad quota is refused where the model is used", "PerMinute": "as PerSecond", "PerHour": "as PerSecond",
	"PerDay": "as PerSecond", "Quota.WithBurst": "as PerSecond", "Quota.Scale": "as PerSecond",
	"Static": "as PerSecond", "Shared": "as PerSecond", "Table": "a model that isn't there is refused where it is used",
	"Unlimited": "no arguments", "FailFast": "no arguments", "WithHooks": "nil means none",
	"Limiter.Watch": "nil means none", "SlogHooks": "nil means the default", "JoinHooks": "nil means none", "StatusOf": "describes any state",
	"Limiter.Close": "no arguments", "Limiter.Families": "no arguments",
	"Reservation.Model": "no arguments", "Reservation.Family": "no arguments", "Reservation.Waited": "no arguments",
	"Reservation.Reserved": "no arguments", "SettledInfo.Reserved": "no arguments", "SettledInfo.Refunded": "no arguments", "SettledInfo.Debt": "no arguments",
	"Call.Model": "no arguments", "Call.Family": "no arguments", "Call.Flow": "no arguments", "Call.Usage": "no arguments",
	"Amounts.Resources": "no arguments", "Amounts.Units": "no arguments", "Amounts.Of": "a resource that isn't there has 0 units",
	"Amounts.All": "no arguments", "Amounts.Map": "no arguments", "Amounts.String": "no arguments", "Amounts.LogValue": "no arguments",
}

// The table must have every public function, so that a new one doesn't go without; and no reason to need no row outlives its
// function.
func TestBadInputTableIsComplete(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range badInputs() {
		covered[c.function] = true
	}
	declared := map[string]bool{}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				receiver := f.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				ident, ok := receiver.(*ast.Ident)
				if !ok || !ident.IsExported() || strings.HasSuffix(ident.Name, "Error") {
					continue
				}
				name = ident.Name + "." + name
			}
			declared[name] = true
			if !covered[name] && cannotBeWrong[name] == "" {
				t.Errorf("%s has no row in the table of bad input, nor a reason why it needs none", name)
			}
		}
	}
	for name := range cannotBeWrong {
		if covered[name] || !declared[name] {
			t.Errorf("%s has a reason to need no row, and has one (%t), or isn't there (%t)", name, covered[name], !declared[name])
		}
	}
}
