package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	throttleotel "github.com/tokenthrottle/throttle/otel"
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
	if err, _ := f.err.Swap(failure{}).(failure); err.error != nil { // once: what the limiter tidies up afterwards gets through
		return nil, err
	}
	time.Sleep(3 * time.Millisecond)
	return f.Driver.Apply(ctx, batch)
}

func attributes(set attribute.Set) string {
	var pairs []string
	for _, kv := range set.ToSlice() {
		pairs = append(pairs, string(kv.Key)+"="+kv.Value.Emit())
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// collect reads every series: name{attributes} → value; of a histogram the count.
func collect(t *testing.T, reader metric.Reader) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Unit == "" || m.Description == "" {
				t.Errorf("%s has unit %q and description %q", m.Name, m.Unit, m.Description)
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					series[m.Name+attributes(p.Attributes)] = float64(p.Value)
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					series[m.Name+attributes(p.Attributes)] = p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					series[m.Name+attributes(p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					series[m.Name+attributes(p.Attributes)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					series[m.Name+attributes(p.Attributes)] = float64(p.Count)
				}
			default:
				t.Errorf("%s is a %T", m.Name, d)
			}
		}
	}
	return series
}

// use makes a limiter do one of everything that is counted.
func use(t *testing.T, ctx context.Context, l *throttle.Limiter, d *far) {
	t.Helper()
	r, err := l.Acquire(ctx, "m", throttle.Usage{"requests": 1, "input_tokens": 60})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.TryAcquire(ctx, "m", throttle.Usage{"input_tokens": 1}); !errors.Is(err, throttle.ErrNoCapacity) {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := l.Acquire(short, "m", throttle.Usage{"input_tokens": 60}, throttle.Priority(3)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := l.Acquire(ctx, "m", throttle.Usage{"input_tokens": 4}); err != nil {
		t.Fatal(err)
	}
	if err := r.Settle(ctx, throttle.Usage{"input_tokens": 15}); err != nil {
		t.Fatal(err)
	}
	d.err.Store(failure{errBroken})
	if _, err := l.Acquire(ctx, "m", throttle.Usage{"input_tokens": 1}); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	synctest.Wait() // for what gives up the call's place, in case it has one, and for hooks that nobody waits for
}

func limiter(d driver.Driver, options ...throttle.Option) *throttle.Limiter {
	return throttle.New(d, throttle.Static(throttle.PerMinute("requests", 6000), throttle.PerMinute("input_tokens", 60)), append(options, throttle.Flow("f", 1))...)
}

func TestOpenTelemetryMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		provider := metric.NewMeterProvider(metric.WithReader(reader))
		defer func() { _ = provider.Shutdown(context.Background()) }()
		d := &far{Driver: memory.New()}
		l := limiter(d)
		defer l.Close()
		stop, err := throttleotel.Register(l, &throttleotel.Options{MeterProvider: provider, Models: []string{"unused"}})
		if err != nil {
			t.Fatal(err)
		}
		use(t, t.Context(), l, d)
		got := collect(t, reader)
		for series, want := range map[string]float64{
			`throttle.acquired{throttle.family=m}`:                                                                2,
			`throttle.settled{throttle.family=m}`:                                                                 1,
			`throttle.waiting{throttle.family=m}`:                                                                 0,
			`throttle.units.reserved{throttle.family=m,throttle.resource=input_tokens}`:                           60, // 4 are not settled yet
			`throttle.units.used{throttle.family=m,throttle.resource=input_tokens}`:                               15,
			`throttle.units.refunded{throttle.family=m,throttle.resource=input_tokens}`:                           45,
			`throttle.units.debt{throttle.family=m,throttle.resource=input_tokens}`:                               0,
			`throttle.wait.duration{throttle.family=m,throttle.resource=input_tokens}`:                            2,
			`throttle.abandoned{throttle.family=m,throttle.reason=deadline_exceeded}`:                             1,
			`throttle.refused{throttle.family=m,throttle.reason=no_capacity,throttle.resource=input_tokens}`:      1,
			`throttle.store.errors{error.type=other}`:                                                             1,
			`throttle.store.duration{error.type=other}`:                                                           1,
			`throttle.state.missing{throttle.family=m}`:                                                           0,
			`throttle.clock.steps{throttle.family=m}`:                                                             0,
			`throttle.limit{throttle.family=m,throttle.period=1m,throttle.resource=input_tokens}`:                 60,
			`throttle.burst{throttle.family=m,throttle.period=1m,throttle.resource=requests}`:                     6000,
			`throttle.level{throttle.family=unused,throttle.period=1m,throttle.resource=input_tokens}`:            60,
			`throttle.limit.overridden{throttle.family=unused,throttle.period=1m,throttle.resource=input_tokens}`: 0,
			`throttle.line.places{throttle.family=m}`:                                                             0,
			`throttle.line.expected{throttle.family=m}`:                                                           0,
			`throttle.paused{throttle.family=m}`:                                                                  0,
			`throttle.status.failed{}`:                                                                            0,
			`throttle.status.omitted{}`:                                                                           0,
		} {
			if v, ok := got[series]; !ok || v != want {
				t.Errorf("%s is %v (there: %t), want %v", series, v, ok, want)
			}
		}
		if got["throttle.store.duration{}"] < 5 || got["throttle.store.batch.families{}"] != got["throttle.store.batch.operations{}"] {
			t.Errorf("round trips: %v, %v, %v", got["throttle.store.duration{}"], got["throttle.store.batch.families{}"], got["throttle.store.batch.operations{}"])
		}
		if t.Failed() && testing.Verbose() {
			for series, v := range got {
				t.Logf("%s %v", series, v)
			}
		}

		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		before := collect(t, reader)
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1}); err != nil {
			t.Fatal(err)
		}
		if after := collect(t, reader); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("after stop the metrics go on: %v", after)
		}
	})
}

func TestOpenTelemetrySpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewSpanRecorder()
		tracer := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("test")
		hooks, err := throttleotel.NewHooks(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := &far{Driver: memory.New()}
		l := limiter(d, throttle.WithHooks(hooks))
		defer l.Close()
		ctx, parent := tracer.Start(t.Context(), "the call")
		start := time.Now()
		use(t, ctx, l, d)
		parent.End()

		ended := spans.Ended()
		if len(ended) != 3 || ended[2].Name() != "the call" {
			t.Fatalf("%d spans, want two waits and the call", len(ended))
		}
		refused := ended[0]
		if refused.Name() != "throttle.wait" || refused.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("span %q with parent %v", refused.Name(), refused.Parent())
		}
		if took := refused.EndTime().Sub(refused.StartTime()); took < 990*time.Millisecond || took > 1010*time.Millisecond || refused.StartTime().Before(start) {
			t.Errorf("the wait took %v from %v, want a second from %v", took, refused.StartTime(), start)
		}
		if refused.Status().Code != codes.Error {
			t.Errorf("a wait that was given up has status %v", refused.Status())
		}
		check := func(what string, got []attribute.KeyValue, want ...string) {
			t.Helper()
			var list []string
			for _, kv := range got {
				list = append(list, string(kv.Key)+"="+kv.Value.Emit())
			}
			for _, w := range want {
				if !slices.Contains(list, w) {
					t.Errorf("%s: %s is not among %q", what, w, list)
				}
			}
		}
		check("wait", refused.Attributes(), "gen_ai.request.model=m", "throttle.family=m", "throttle.flow=f", "throttle.priority=3",
			"throttle.resource=input_tokens", "throttle.period=1m", "throttle.usage.input_tokens=60", "error.type=deadline_exceeded")
		if granted := ended[1]; granted.Status().Code != codes.Unset {
			t.Errorf("a wait that was granted has status %v", granted.Status())
		}
		events := ended[2].Events()
		if len(events) != 2 || events[0].Name != "throttle.refused" || events[1].Name != "throttle.settled" {
			t.Fatalf("events %v", events)
		}
		check("refusal", events[0].Attributes, "throttle.reason=no_capacity", "throttle.resource=input_tokens", "throttle.usage.input_tokens=1")
		check("settlement", events[1].Attributes, "throttle.reserved.input_tokens=60", "throttle.used.input_tokens=15", "gen_ai.usage.input_tokens=15")

		if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"input_tokens": 60}); err == nil {
			t.Fatal("granted")
		}
		if n := len(spans.Ended()); n != 3 {
			t.Errorf("a call without a span made one: %d", n)
		}
	})
}
