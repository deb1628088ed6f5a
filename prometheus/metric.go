package throttleprom

import (
	"strconv"
	"strings"
	"unicode/utf8"

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

// valid makes label values UTF-8, which Prometheus insists on and a family's name need not be: what isn't is quoted, so
// that different ones stay different, and so is what looks quoted. So nothing here panics, and no scrape fails.
func valid(labels []string) []string {
	for i, l := range labels {
		if !utf8.ValidString(l) || strings.HasPrefix(l, `"`) {
			labels[i] = strconv.QuoteToASCII(l)
		}
	}
	return labels
}
