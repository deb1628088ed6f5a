package demo

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/workload"
	_ "github.com/tokenthrottle/throttle/driver/bolt"
	_ "github.com/tokenthrottle/throttle/driver/memory"
	_ "github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/internal/report"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// The test binary is its own worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == WorkerCommand {
		if err := Worker(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

var loaded = sync.OnceValues(func() (*workload.Workload, error) { return workload.Load(MaxTokens) })

func options(t *testing.T, o Options) Options {
	t.Helper()
	w, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	o.Work = w
	return o
}

// watcher counts what it is shown.
type watcher struct {
	began, ended, answers, refusals int
	titles                          []string
}

func (w *watcher) Loading()                           {}
func (w *watcher) Loaded(*workload.Workload, Setting) {}
func (w *watcher) Begin(title string, _ int)          { w.began++; w.titles = append(w.titles, title) }
func (w *watcher) Answer(int)                         { w.answers++ }
func (w *watcher) Refusal()                           { w.refusals++ }
func (w *watcher) End()                               { w.ended++ }

// check holds a report to what is true however busy the machine is.
func check(t *testing.T, rep *Report, w *watcher) {
	t.Helper()
	if len(rep.Ways) != 3 || w.began != 3 || w.ended != 3 {
		t.Fatalf("%d ways, %d begun, %d ended", len(rep.Ways), w.began, w.ended)
	}
	refusals := 0
	for i, res := range rep.Ways {
		if res.Name != Ways[i] {
			t.Errorf("way %d is %s", i, res.Name)
		}
		if res.Requests != rep.Ways[0].Requests || res.TokensUsed != rep.Ways[0].TokensUsed || res.Requests < 150 {
			t.Errorf("%s: %d requests, %d tokens: every way has the same work", res.Name, res.Requests, res.TokensUsed)
		}
		if res.ShareOfIdeal <= 0 || res.ShareOfIdeal > 1 {
			t.Errorf("%s: share of the ideal %v: nothing is faster than the limits allow", res.Name, res.ShareOfIdeal)
		}
		if last := res.Curve[len(res.Curve)-1]; int64(last.Y) != res.TokensUsed || last.X != res.Elapsed {
			t.Errorf("%s: the curve ends at %v", res.Name, last)
		}
		refusals += int(res.Rejected429)
	}
	// That none is refused is for the whole demonstration to show; here minutes last less than a second.
	if none, got := rep.Ways[0].Rejected429, rep.Ways[2].Rejected429; got > none/20 {
		t.Errorf("throttle was refused %d times, and %d times without a limiter", got, none)
	}
	if rep.Ways[1].Elapsed < 1.5*rep.Ways[2].Elapsed {
		t.Errorf("without refunds %v s, with refunds %v s", rep.Ways[1].Elapsed, rep.Ways[2].Elapsed)
	}
	if w.answers != int(3*rep.Ways[0].Requests) || w.refusals != refusals {
		t.Errorf("shown %d answers and %d refusals, want %d and %d", w.answers, w.refusals, 3*rep.Ways[0].Requests, refusals)
	}
	picture := rep.Picture(report.Style{}, 100)
	for _, way := range Ways {
		if strings.Count(picture, way.Title()) < 2 {
			t.Errorf("%q is missing in the picture:\n%s", way.Title(), picture)
		}
	}
}

func TestThreeWays(t *testing.T) {
	var w watcher
	rep, err := Run(t.Context(), options(t, Options{Store: "memory://", Ideal: 1500 * time.Millisecond, Watch: &w}))
	if err != nil {
		t.Fatal(err)
	}
	check(t, rep, &w)
	if svg := rep.SVG(); !strings.HasPrefix(svg, "<svg") || strings.Count(svg, "<polyline") != 4 || strings.Contains(svg, "\x1b") {
		t.Errorf("%.300s", svg)
	}
}

func TestWorkerProcessesShareOneKey(t *testing.T) {
	var w watcher
	rep, err := Run(t.Context(), options(t, Options{Store: testservice.Redis(t), Workers: 3, Ideal: 1500 * time.Millisecond, Watch: &w}))
	if err != nil {
		t.Fatal(err)
	}
	check(t, rep, &w)
}

func TestAWorkerThatFailsEndsTheRun(t *testing.T) {
	for name, o := range map[string]Options{
		"store":   {Store: "bolt:///no/such/directory/x.db"},
		"program": {Store: "memory://", Program: "/no/such/program"},
		"dies":    {Store: "memory://", Program: "/bin/false"},
	} {
		o.Workers, o.Watch = 2, &watcher{}
		if _, err := Run(t.Context(), options(t, o)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPostgresNeedsNoPreparation(t *testing.T) {
	for store, want := range map[string]string{
		"postgres://user:a%2Fb@db/app":             "postgres://user:a%2Fb@db/app?migrate=true",
		"postgresql://db/app?sslmode=disable":      "postgresql://db/app?sslmode=disable&migrate=true",
		"postgres://db/app?migrate=false":          "postgres://db/app?migrate=false",
		"redis://127.0.0.1:6379/0":                 "redis://127.0.0.1:6379/0",
		"bolt:///tmp/limits.db?timeout=1s":         "bolt:///tmp/limits.db?timeout=1s",
		"postgres://not a URL at all\x7f/postgres": "postgres://not a URL at all\x7f/postgres",
	} {
		if got := withTable(store); got != want {
			t.Errorf("%s: %s, want %s", store, got, want)
		}
	}
}

func TestACancelledRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &cancelling{cancel: cancel}
	if _, err := Run(ctx, options(t, Options{Store: "memory://", Watch: w})); err == nil {
		t.Error("no error")
	}
	if _, err := RunFlows(ctx, options(t, Options{Store: "memory://", Watch: &watcher{}})); err == nil {
		t.Error("flows: no error")
	}
}

type cancelling struct {
	watcher
	cancel context.CancelFunc
}

func (c *cancelling) Answer(int) { c.cancel() }

func TestFlowsKeepProductionQuick(t *testing.T) {
	var w watcher
	rep, err := RunFlows(t.Context(), options(t, Options{Store: "memory://", Ideal: 3 * time.Second, Watch: &w}))
	if err != nil {
		t.Fatal(err)
	}
	alone, two := rep.Ways[0], rep.Ways[1]
	for _, res := range rep.Ways {
		if res.Rejected429 > res.Requests/20 || res.ShareOfIdeal > 1 || res.ProductionServed > res.ProductionRequests {
			t.Errorf("%+v", res)
		}
	}
	if two.ProductionServed < two.ProductionRequests*9/10 || alone.ProductionServed > alone.ProductionRequests/2 {
		t.Errorf("production got %d of %d with two flows, %d of %d without", two.ProductionServed, two.ProductionRequests,
			alone.ProductionServed, alone.ProductionRequests)
	}
	if two.WaitMedian > 1 || two.WaitMedian > alone.WaitMedian/4 {
		t.Errorf("median wait %v s with two flows, %v s without", two.WaitMedian, alone.WaitMedian)
	}
}

func TestSettingKeepsItsPromises(t *testing.T) {
	for _, totals := range []workload.Totals{
		{Requests: 338, Input: 440_000, Reserve: 1_825_000, Largest: 20_729},
		{Requests: 179, Input: 341_000, Reserve: 1_075_000, Largest: 20_000},
		{Requests: 60, Input: 70_000, Reserve: 315_760, Largest: 9_000},
		{Requests: 400, Input: 4_000_000, Reserve: 5_600_000, Largest: 100_000},
	} {
		s := newSetting(totals, 9*time.Second)
		used := int64(totals.Input + totals.Requests*MaxTokens*9/40)
		ideal := provider.Ideal(s.Limits, s.Minute, int64(totals.Requests), used)
		if ideal < 8*time.Second || ideal > 10*time.Second {
			t.Errorf("%+v: ideal %v under %+v", totals, ideal, s)
		}
		if burst := s.quotas()[1].Burst; float64(totals.Largest) > burst {
			t.Errorf("%+v: the largest request doesn't fit into %v", totals, burst)
		}
		if kept := provider.Ideal(s.Limits, s.Minute, int64(totals.Requests), int64(totals.Reserve)); kept > 4*ideal {
			t.Errorf("%+v: without refunds it takes %v", totals, kept)
		}
	}
}
