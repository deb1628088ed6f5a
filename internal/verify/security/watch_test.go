package security

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	promclient "github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tokenthrottle/throttle"
	throttleotel "github.com/tokenthrottle/throttle/otel"
	throttleprom "github.com/tokenthrottle/throttle/prometheus"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

// Where something can be read of what calls did.
const (
	defaultLog        = "the default log"
	hookLog           = "the hooks' log"
	errorTexts        = "an error"
	onAnswer          = "OnAnswer"
	prometheusMetrics = "Prometheus"
	otelMetrics       = "OpenTelemetry's metrics"
	otelSpans         = "OpenTelemetry's spans"
	page              = "the page"
)

// watching gathers what is said of limiters' calls, everywhere, at its most talkative.
type watching struct {
	hooks *throttle.Hooks

	mu   sync.Mutex
	said map[string]*bytes.Buffer

	registries []*promclient.Registry // one a limiter
	reader     *metric.ManualReader
	meter      *metric.MeterProvider
	spans      *tracetest.SpanRecorder
	tracer     *trace.TracerProvider
	pages      []*throttlehttp.Page
}

// place is one where text is written to.
type place struct {
	o    *watching
	name string
}

func (p place) Write(text []byte) (int, error) {
	p.o.mu.Lock()
	defer p.o.mu.Unlock()
	if p.o.said[p.name] == nil {
		p.o.said[p.name] = new(bytes.Buffer)
	}
	return p.o.said[p.name].Write(text)
}

// watch also takes the default log's place until the test ends.
func watch(t *testing.T) *watching {
	o := &watching{said: map[string]*bytes.Buffer{}, reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	o.meter = metric.NewMeterProvider(metric.WithReader(o.reader))
	o.tracer = trace.NewTracerProvider(trace.WithSpanProcessor(o.spans))
	o.hooks = throttle.SlogHooks(o.logger(hookLog))
	before := slog.Default()
	slog.SetDefault(o.logger(defaultLog))
	t.Cleanup(func() { slog.SetDefault(before) })
	return o
}

func (o *watching) logger(name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(place{o, name}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (o *watching) say(where string, what any) { fmt.Fprintf(place{o, where}, "%+v\n", what) }

// tell says an error, and all that it wraps.
func (o *watching) tell(err error) {
	for ; err != nil; err = errors.Unwrap(err) {
		fmt.Fprintf(place{o, errorTexts}, "%v %+v\n", err, err)
	}
}

// export shows a limiter to Prometheus, to OpenTelemetry and on a page, until the test ends.
func (o *watching) export(t *testing.T, l *throttle.Limiter) {
	t.Helper()
	registry := promclient.NewRegistry()
	if err := throttleprom.Register(registry, l, nil); err != nil {
		t.Fatal(err)
	}
	stop, err := throttleotel.Register(l, &throttleotel.Options{MeterProvider: o.meter})
	if err != nil {
		t.Fatal(err)
	}
	handler := throttlehttp.Handler(l, nil)
	o.registries, o.pages = append(o.registries, registry), append(o.pages, handler)
	t.Cleanup(func() {
		handler.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// span is what a call is made in, as a traced program would.
func (o *watching) span(ctx context.Context) (in context.Context, end func()) {
	ctx, span := o.tracer.Tracer("test").Start(ctx, "call")
	return ctx, func() { span.End() }
}

// read returns all that was said, by where, the metrics, spans and pages included.
func (o *watching) read(t *testing.T) map[string]string {
	t.Helper()
	for _, registry := range o.registries {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		o.say(prometheusMetrics, families)
	}
	var data metricdata.ResourceMetrics
	if err := o.reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			o.say(otelMetrics, m)
		}
	}
	for _, s := range o.spans.Ended() {
		fmt.Fprintln(place{o, otelSpans}, s.Name(), s.Status(), s.Attributes(), s.Events())
	}
	for _, handler := range o.pages {
		shown := httptest.NewRecorder()
		handler.ServeHTTP(shown, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?json", nil))
		if shown.Code != http.StatusOK {
			t.Errorf("the page says %d: %s", shown.Code, shown.Body)
		}
		o.say(page, shown.Body)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[string]string{}
	for where, text := range o.said {
		all[where] = text.String()
	}
	return all
}
