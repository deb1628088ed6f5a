package check

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/teststorage"
)

func engine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
}

// alerts plays a situation to the alert rules and returns the names of those that fire at its end, in order.
func alerts(t *testing.T, s situation) (firing, known []string) {
	t.Helper()
	db := teststorage.New(t)
	defer db.Close()
	manager := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{Scheme: "http", Host: "prometheus"}, Context: t.Context(), Logger: slog.New(slog.DiscardHandler),
		Appendable: db, Queryable: db, QueryFunc: rules.EngineQueryFunc(engine(), db),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
	})
	groups, errs := manager.LoadGroups(interval, labels.EmptyLabels(), "", nil, false, "../alerts.yaml")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, sc := range record(t, s) {
		sc.load(t, db)
		for _, g := range groups {
			g.Eval(t.Context(), sc.at)
		}
	}
	for _, g := range groups {
		for _, r := range g.AlertingRules() {
			known = append(known, r.Name())
			if err := r.LastError(); err != nil {
				t.Errorf("%s: %v", r.Name(), err)
			}
			if r.State() != rules.StateFiring {
				continue
			}
			firing = append(firing, r.Name())
			for _, a := range r.ActiveAlerts() {
				text := a.Annotations.Get("summary")
				if text == "" || strings.ContainsAny(text, "{}<>") || strings.Contains(text, "  ") {
					t.Errorf("%s says %q", r.Name(), text)
				}
				if a.Labels.Get("severity") == "" || a.Labels.Get("job") != "api" {
					t.Errorf("%s has labels %v", r.Name(), a.Labels)
				}
			}
		}
	}
	slices.Sort(firing)
	return firing, known
}

// Each alert fires on a limiter with which that is wrong, where none fires that has nothing to say; and all are silent
// on a good one.
func TestAlerts(t *testing.T) {
	fired := map[string]bool{}
	var known []string
	for _, s := range append([]situation{good}, bad...) {
		t.Run(s.name, func(t *testing.T) {
			var got []string
			got, known = alerts(t, s)
			want := slices.Sorted(slices.Values(s.firing))
			if !slices.Equal(got, want) {
				t.Errorf("firing: %q, want %q", got, want)
			}
			for _, name := range got {
				fired[name] = true
			}
		})
	}
	for _, name := range known {
		if !fired[name] {
			t.Errorf("no situation makes %s fire", name)
		}
	}
}

// panel is one of the dashboard's.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile("../grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	return dashboard.Panels
}

// Each query of the dashboard draws something, and nothing but numbers, of a limiter to which everything happens.
func TestDashboard(t *testing.T) {
	db := teststorage.New(t)
	defer db.Close()
	list := record(t, eventful)
	for _, sc := range list {
		sc.load(t, db)
	}
	// As Grafana fills them in: all jobs, all families, four scrapes at least.
	variables := strings.NewReplacer("$job", ".*", "$family", ".*", "$__rate_interval", (4 * interval).String())
	end, queries := list[len(list)-1].at, 0
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			queries++
			q, err := engine().NewRangeQuery(t.Context(), db, nil, variables.Replace(target.Expr), end.Add(-30*time.Minute), end, time.Minute)
			if err != nil {
				t.Errorf("%s: %s: %v", p.Title, target.Expr, err)
				continue
			}
			matrix, err := q.Exec(t.Context()).Matrix()
			points := 0
			for _, series := range matrix {
				for _, f := range series.Floats {
					points++
					if math.IsNaN(f.F) || math.IsInf(f.F, 0) {
						t.Errorf("%s: %s is %v", p.Title, target.Expr, f.F)
						break
					}
				}
			}
			if err != nil || points == 0 {
				t.Errorf("%s: %s draws nothing (%v)", p.Title, target.Expr, err)
			}
			q.Close()
		}
	}
	if queries < 20 {
		t.Errorf("the dashboard has %d queries", queries)
	}
}
