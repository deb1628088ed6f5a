package throttleprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle/internal/tally"
)

func counter(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, valid(labels)...)
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, valid(labels)...)
}

func histogram(d *prometheus.Desc, h *tally.Histogram, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstHistogram(d, h.Count(), h.Sum, h.Cumulative(), valid(labels)...)
}

// valid makes label values such that nothing here panics, and no scrape fails.
func valid(labels []string) []string {
	for i, l := range labels {
		labels[i] = tally.Label(l)
	}
	return labels
}
