package throttleprom_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	throttleprom "github.com/tokenthrottle/throttle/prometheus"
)

var errBroken = errors.New("broken")

// failure is what a broken store returns.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// far is the memory driver as a store that isn't in the process, 3 ms away.
type far struct {
	driver.Driver
	err atomic.Value // of failure
}

func (f *far) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err, _ := f.err.Load().(failure); err.error != nil {
		return nil, err
	}
	time.Sleep(3 * time.Millisecond)
	return f.Driver.Apply(ctx, batch)
}

// scrape gathers every series: name{labels} → value; of a histogram _count, _sum and each _bucket.
func scrape(t *testing.T, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := m.GetLabel()
			name := func(suffix string, more ...*dto.LabelPair) string {
				var pairs []string
				for _, l := range append(slices.Clone(labels), more...) {
					pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
				}
				if len(pairs) == 0 {
					return f.GetName() + suffix
				}
				return f.GetName() + suffix + "{" + strings.Join(pairs, ",") + "}"
			}
			switch {
			case m.GetHistogram() != nil:
				h := m.GetHistogram()
				series[name("_count")], series[name("_sum")] = float64(h.GetSampleCount()), h.GetSampleSum()
				for _, b := range h.GetBucket() {
					le, bound := "le", fmt.Sprint(b.GetUpperBound())
					series[name("_bucket", &dto.LabelPair{Name: &le, Value: &bound})] = float64(b.GetCumulativeCount())
				}
			case m.GetCounter() != nil:
				series[name("")] = m.GetCounter().GetValue()
			default:
				series[name("")] = m.GetGauge().GetValue()
			}
		}
	}
	return series
}

// exercise makes a limiter do one of everything that is counted, on a family "m" of 60 tokens and 6,000 requests a minute.
func exercise(t *testing.T, l *throttle.Limiter, d *far) {
	t.Helper()
	ctx := t.Context()
	r, err := l.Acquire(ctx, "m", throttle.Usage{"requests": 1, "tokens": 60})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.TryAcquire(ctx, "m", throttle.Usage{"tokens": 1}); !errors.Is(err, throttle.ErrNoCapacity) {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := l.Acquire(short, "m", throttle.Usage{"tokens": 60}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	waited, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Settle(ctx, throttle.Usage{"tokens": 15}); err != nil {
		t.Fatal(err)
	}
	if err := waited.Settle(ctx, throttle.Usage{"tokens": 6}); err != nil {
		t.Fatal(err)
	}
	if err := l.SetLimit(ctx, "m", throttle.Quota{Resource: "requests", Limit: 3000, Per: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := l.Pause(ctx, "m", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	d.err.Store(failure{errBroken})
	if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 1}); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	synctest.Wait() // for what gives up the call's place, in case it has one, and for hooks that nobody waits for
	d.err.Store(failure{})
}

func newLimiter(d driver.Driver, options ...throttle.Option) *throttle.Limiter {
	return throttle.New(d, throttle.Static(throttle.PerMinute("requests", 6000), throttle.PerMinute("tokens", 60)), options...)
}

func TestWhatIsExported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &far{Driver: memory.New()}
		l := newLimiter(d)
		defer l.Close()
		reg := prometheus.NewPedanticRegistry()
		if err := throttleprom.Register(reg, l, nil); err != nil {
			t.Fatal(err)
		}
		exercise(t, l, d)
		got := scrape(t, reg)
		for series, want := range map[string]float64{
			`throttle_acquired_total{family="m"}`:                                         2,
			`throttle_settled_total{family="m"}`:                                          2,
			`throttle_waiting{family="m"}`:                                                0,
			`throttle_reserved_units_total{family="m",resource="tokens"}`:                 64,
			`throttle_used_units_total{family="m",resource="tokens"}`:                     21,
			`throttle_refunded_units_total{family="m",resource="tokens"}`:                 45,
			`throttle_debt_units_total{family="m",resource="tokens"}`:                     2,
			`throttle_usage_ratio_count{family="m",resource="tokens"}`:                    2,
			`throttle_usage_ratio_bucket{family="m",resource="tokens",le="0.25"}`:         1,
			`throttle_usage_ratio_sum{family="m",resource="tokens"}`:                      1.75,
			`throttle_wait_duration_seconds_count{family="m",resource="tokens"}`:          2,
			`throttle_wait_duration_seconds_count{family="m",resource="none"}`:            1,
			`throttle_wait_duration_seconds_sum{family="m",resource="none"}`:              0,
			`throttle_wait_duration_seconds_bucket{family="m",resource="none",le="0.01"}`: 1,
			`throttle_abandoned_total{family="m",reason="deadline_exceeded"}`:             1,
			`throttle_refused_total{family="m",reason="no_capacity",resource="tokens"}`:   1,
			`throttle_limit_units{family="m",per="1m",resource="requests"}`:               3000,
			`throttle_burst_units{family="m",per="1m",resource="tokens"}`:                 60,
			`throttle_limit_overridden{family="m",per="1m",resource="requests"}`:          1,
			`throttle_limit_overridden{family="m",per="1m",resource="tokens"}`:            0,
			`throttle_line_places{family="m"}`:                                            0,
			`throttle_status_failed_families`:                                             0,
			`throttle_status_omitted_families`:                                            0,
			`throttle_store_errors_total{kind="other"}`:                                   2, // the call, and what gave its place up
			`throttle_store_errors_total{kind="unknown_outcome"}`:                         0,
			`throttle_state_missing_total{family="m"}`:                                    0,
			`throttle_clock_steps_total{family="m"}`:                                      0,
			`throttle_store_duration_seconds_count`:                                       got[`throttle_store_batch_families_count`] + 2,
			`throttle_store_duration_seconds_bucket{le="0.0025"}`:                         2,
		} {
			if v, ok := got[series]; !ok || v != want {
				t.Errorf("%s is %v (there: %t), want %v", series, v, ok, want)
			}
		}
		if v := got[`throttle_paused_seconds{family="m"}`]; v < 9.9 || v > 10 {
			t.Errorf("paused for %v s, want 10", v)
		}
		if v := got[`throttle_level_units{family="m",per="1m",resource="tokens"}`]; v < 30 || v > 50 {
			t.Errorf("level %v: 60 − 64 + 45 − 2, and some seconds of refill", v)
		}
		if operations, batches := got["throttle_store_batch_operations_sum"], got["throttle_store_batch_operations_count"]; operations < batches || batches < 10 {
			t.Errorf("%v operations in %v batches", operations, batches)
		}
	})
}

// The line is the store's: one who waits elsewhere shows here, with the time that the last is expected to take.
func TestLineAndWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memory.New()
		here, there := newLimiter(d), newLimiter(d)
		defer here.Close()
		defer there.Close()
		reg := prometheus.NewPedanticRegistry()
		if err := throttleprom.Register(reg, here, &throttleprom.Options{Models: []string{"m"}, ListedOnly: true}); err != nil {
			t.Fatal(err)
		}
		if got := scrape(t, reg)[`throttle_level_units{family="m",per="1m",resource="tokens"}`]; got != 60 {
			t.Errorf("before anything was used the level is %v, want 60", got)
		}
		if _, err := here.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		for _, l := range []*throttle.Limiter{here, there} {
			go func() { _, _ = l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 20}) }()
		}
		synctest.Wait()
		got := scrape(t, reg)
		if got[`throttle_line_places{family="m"}`] != 2 || got[`throttle_waiting{family="m"}`] != 1 {
			t.Errorf("places %v, waiting here %v; want 2 and 1", got[`throttle_line_places{family="m"}`], got[`throttle_waiting{family="m"}`])
		}
		if v := got[`throttle_line_expected_seconds{family="m"}`]; v < 39.9 || v > 40 {
			t.Errorf("the last is expected in %v s, want 40", v)
		}
	})
}

func TestFlowLabelIsThereOnlyWhereFlowsAreListed(t *testing.T) {
	l := newLimiter(memory.New())
	defer l.Close()
	reg := prometheus.NewPedanticRegistry()
	if err := throttleprom.Register(reg, l, &throttleprom.Options{Flows: []string{"batch"}}); err != nil {
		t.Fatal(err)
	}
	for _, flow := range []string{"batch", "tenant-1", "tenant-2"} {
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 2}, throttle.Flow(flow, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Settle(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	got := scrape(t, reg)
	if got[`throttle_used_units_total{family="m",flow="batch",resource="tokens"}`] != 2 || got[`throttle_used_units_total{family="m",flow="other",resource="tokens"}`] != 4 {
		t.Errorf("used: %v", got)
	}
	for series := range got {
		if strings.Contains(series, "tenant") {
			t.Errorf("a flow that isn't listed shows: %s", series)
		}
	}
}

// A thousand families and a thousand flows make no more series than ten and one.
func TestSeriesAreBounded(t *testing.T) {
	l := newLimiter(memory.New())
	defer l.Close()
	reg := prometheus.NewPedanticRegistry()
	if err := throttleprom.Register(reg, l, &throttleprom.Options{MaxFamilies: 10}); err != nil {
		t.Fatal(err)
	}
	use := func(n int) map[string]float64 {
		for i := range n {
			model := fmt.Sprintf("m%d", i)
			if _, err := l.TryAcquire(t.Context(), model, throttle.Usage{"tokens": 61}, throttle.Flow(model, 1)); err == nil {
				t.Fatal("granted above the burst")
			}
			r, err := l.Acquire(t.Context(), model, throttle.Usage{"tokens": 1}, throttle.Flow(model, 1))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Settle(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		return scrape(t, reg)
	}
	few, many := use(11), use(1000)
	if len(many) != len(few) {
		t.Errorf("%d series for 11 families, %d for 1,000", len(few), len(many))
	}
	if got := many[`throttle_acquired_total{family="other"}`]; got != 1+990 {
		t.Errorf("other families acquired %v, want 991", got)
	}
	if got := many["throttle_status_omitted_families"]; got != 990 {
		t.Errorf("%v families omitted, want 990", got)
	}
}

func TestAScrapeNeverFails(t *testing.T) {
	d := &far{Driver: memory.New()}
	l := newLimiter(d)
	reg := prometheus.NewPedanticRegistry()
	if err := throttleprom.Register(reg, l, &throttleprom.Options{Models: []string{"m"}}); err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"\xff", "\xfe", `"\xff"`, "a\x00b", ""} {
		if _, err := l.Acquire(t.Context(), model, throttle.Usage{"tokens": 1}); err != nil {
			t.Fatal(err)
		}
	}
	if got := scrape(t, reg); got[`throttle_acquired_total{family="\"\\xfe\""}`] != 1 || got[`throttle_acquired_total{family=""}`] != 1 {
		t.Errorf("odd names are lost: %v", slices.Sorted(maps.Keys(got)))
	}
	d.err.Store(failure{errBroken})
	if got := scrape(t, reg)["throttle_status_failed_families"]; got != 6 {
		t.Errorf("%v families failed, want all 6", got)
	}
	l.Close()
	if got := scrape(t, reg)["throttle_status_failed_families"]; got < 1 {
		t.Errorf("after Close %v families failed", got)
	}
}

func TestTwoLimitersInOneRegistry(t *testing.T) {
	a, b := newLimiter(memory.New()), newLimiter(memory.New())
	defer a.Close()
	defer b.Close()
	reg := prometheus.NewPedanticRegistry()
	if err := throttleprom.Register(reg, a, nil); err != nil {
		t.Fatal(err)
	}
	var twice prometheus.AlreadyRegisteredError
	if err := throttleprom.Register(reg, b, nil); !errors.As(err, &twice) || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("a second limiter: %v", err)
	}
	if _, err := throttleprom.NewHooks(reg, nil); !errors.As(err, &twice) {
		t.Errorf("second hooks: %v", err)
	}
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"limiter": "b"}, prometheus.NewPedanticRegistry())
	if err := throttleprom.Register(labelled, b, nil); err != nil {
		t.Errorf("with a label of its own: %v", err)
	}
}

// Names and helps keep the conventions of https://prometheus.io/docs/practices/naming.
func TestConventions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &far{Driver: memory.New()}
		l := newLimiter(d)
		defer l.Close()
		reg := prometheus.NewPedanticRegistry()
		if err := throttleprom.Register(reg, l, &throttleprom.Options{Flows: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		exercise(t, l, d)
		families, err := reg.Gather()
		if err != nil || len(families) != 26 {
			t.Fatalf("%d metrics, %v; want 26, each with something in it", len(families), err)
		}
		labels := []string{"family", "flow", "resource", "per", "reason", "kind"}
		for _, f := range families {
			name := f.GetName()
			if !strings.HasPrefix(name, "throttle_") || strings.ToLower(name) != name {
				t.Errorf("%s: want throttle_ and lower case", name)
			}
			if (f.GetType() == dto.MetricType_COUNTER) != strings.HasSuffix(name, "_total") {
				t.Errorf("%s is a %v: a counter, and nothing else, ends in _total", name, f.GetType())
			}
			if h := f.GetHelp(); !strings.HasSuffix(h, ".") || len(h) < 20 {
				t.Errorf("%s: help %q is no sentence", name, h)
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if !slices.Contains(labels, l.GetName()) {
						t.Errorf("%s has a label %s", name, l.GetName())
					}
				}
			}
		}
	})
}
