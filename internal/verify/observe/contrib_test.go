package observe

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle/driver/memory"
	throttleprom "github.com/tokenthrottle/throttle/prometheus"
)

// exported are the series' names in a registry, each with its labels, of a limiter that has done one of everything.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	series := map[string][]string{}
	synctest.Test(t, func(t *testing.T) {
		d := &far{Driver: memory.New()}
		l := limiter(d)
		defer l.Close()
		reg := prometheus.NewRegistry()
		if err := throttleprom.Register(reg, l, nil); err != nil {
			t.Fatal(err)
		}
		use(t, t.Context(), l, d)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			labels := []string{"job", "instance"} // which Prometheus adds
			for _, pair := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, pair.GetName())
			}
			names := []string{f.GetName()}
			if f.GetMetric()[0].GetHistogram() != nil {
				names = []string{f.GetName() + "_sum", f.GetName() + "_count", f.GetName() + "_bucket"}
			}
			for _, name := range names {
				series[name] = labels
				if strings.HasSuffix(name, "_bucket") {
					series[name] = append([]string{"le"}, labels...)
				}
			}
		}
	})
	return series
}

// queries are the expressions of the dashboard and of the alert rules.
func queries(t *testing.T) []string {
	t.Helper()
	var list []string
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	text, err := os.ReadFile("../../../contrib/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			list = append(list, target.Expr)
		}
	}
	if len(list) < 20 {
		t.Errorf("the dashboard has %d queries", len(list))
	}
	rules, err := os.ReadFile("../../../contrib/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before := len(list)
	for line := range strings.Lines(string(rules)) {
		if expr, ok := strings.CutPrefix(strings.TrimSpace(line), "expr: "); ok {
			list = append(list, expr)
		}
	}
	if n := strings.Count(string(rules), "- alert:"); n != len(list)-before || n == 0 {
		t.Errorf("%d alerts, %d expressions", n, len(list)-before)
	}
	return list
}

var (
	selector = regexp.MustCompile(`(throttle_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping = regexp.MustCompile(`(?:by|on)\s*\(([^)]*)\)`)
)

// Every metric that the dashboard and the alerts ask for is exported, with the labels that they select and group by; and
// every metric is asked for somewhere.
func TestDashboardAndAlertsAskForWhatThereIs(t *testing.T) {
	series := exported(t)
	asked := map[string]bool{}
	for _, q := range queries(t) {
		if strings.Count(q, "(") != strings.Count(q, ")") || strings.Count(q, "{") != strings.Count(q, "}") {
			t.Errorf("unbalanced: %s", q)
		}
		for _, s := range selector.FindAllStringSubmatch(q, -1) {
			labels, ok := series[s[1]]
			if !ok {
				t.Errorf("%s is not exported: %s", s[1], q)
				continue
			}
			asked[s[1]] = true
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if !slices.Contains(labels, m[1]) {
					t.Errorf("%s has no label %s: %s", s[1], m[1], q)
				}
			}
			for _, g := range grouping.FindAllStringSubmatch(q, -1) {
				for label := range strings.SplitSeq(g[1], ",") {
					if label = strings.TrimSpace(label); !slices.Contains(labels, label) {
						t.Errorf("%s is grouped by %s, which it hasn't: %s", s[1], label, q)
					}
				}
			}
		}
	}
	for name := range series {
		base := regexp.MustCompile(`_(sum|count|bucket)$`).ReplaceAllString(name, "")
		if !asked[name] && !asked[base+"_sum"] && !asked[base+"_count"] && !asked[base+"_bucket"] {
			t.Errorf("nothing asks for %s", name)
		}
	}
}
