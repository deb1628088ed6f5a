package throttleprom

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/period"
	"github.com/tokenthrottle/throttle/internal/statuses"
)

// collectTimeout bounds what a scrape waits for the store: Prometheus itself gives up after 10 s by default.
const collectTimeout = 5 * time.Second

// collector exports what the store holds.
type collector struct {
	lim *throttle.Limiter
	opt Options

	level, limit, burst, overridden, paused, places, expected *prometheus.Desc
	failed, omitted                                           *prometheus.Desc
}

// NewCollector returns a collector that asks the store, at each scrape, for the levels, limits and lines of lim's
// families. It never makes a scrape fail: families that can't be looked at are counted. It panics if lim is nil.
func NewCollector(lim *throttle.Limiter, o *Options) prometheus.Collector {
	if lim == nil {
		panic("throttleprom: NewCollector needs a limiter")
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("throttle_"+name, help, labels, nil)
	}
	quota := []string{"family", "resource", "per"}
	return &collector{
		lim: lim, opt: o.orDefault(),
		level:      desc("level_units", "Units that can be used now; below 0 it is a debt.", quota...),
		limit:      desc("limit_units", "Units that come back in each period.", quota...),
		burst:      desc("burst_units", "Units that can be used at once after an idle spell: the most that the level can be.", quota...),
		overridden: desc("limit_overridden", "1 if limit and burst were set at run time, else 0.", quota...),
		paused:     desc("paused_seconds", "How much longer nothing is granted.", "family"),
		places:     desc("line_places", "Places in the line, in all processes: one for each flow and priority of a process.", "family"),
		expected:   desc("line_expected_seconds", "In how long the last of the line is expected to be served.", "family"),
		failed:     desc("status_failed_families", "Families that could not be looked at in this scrape."),
		omitted:    desc("status_omitted_families", "Families left out of this scrape, beyond MaxFamilies."),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.level, c.limit, c.burst, c.overridden, c.paused, c.places, c.expected, c.failed, c.omitted,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	look := statuses.Of(ctx, c.lim, c.opt.Models, !c.opt.ListedOnly, c.opt.MaxFamilies)
	ch <- gauge(c.failed, float64(look.Failed))
	ch <- gauge(c.omitted, float64(look.Omitted))
	for i := range look.Statuses {
		c.family(ch, &look.Statuses[i])
	}
}

func (c *collector) family(ch chan<- prometheus.Metric, s *throttle.Status) {
	for _, b := range s.Buckets {
		quota := []string{s.Family, b.Resource, period.String(b.Per)}
		ch <- gauge(c.level, b.Level, quota...)
		ch <- gauge(c.limit, b.Limit, quota...)
		ch <- gauge(c.burst, b.Burst, quota...)
		overridden := 0.0
		if b.Overridden {
			overridden = 1
		}
		ch <- gauge(c.overridden, overridden, quota...)
	}
	paused, expected := 0.0, 0.0
	if !s.Paused.IsZero() {
		paused = s.Paused.Sub(s.Now).Seconds()
	}
	for _, p := range s.Line {
		expected = max(expected, p.Expected.Seconds())
	}
	ch <- gauge(c.paused, paused, s.Family)
	ch <- gauge(c.places, float64(len(s.Line)), s.Family)
	ch <- gauge(c.expected, expected, s.Family)
}
