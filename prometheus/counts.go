package throttleprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle/internal/tally"
)

// Unwaited is the resource under which the wait histogram counts the grants that didn't wait.
const Unwaited = "none"

// counts exports a tally. It counts nothing itself: a counter of client_golang for each of a dozen numbers would cost
// the hot path more than the limiter does.
type counts struct {
	tally *tally.Tally

	acquired, settled, waiting, abandoned, refused *prometheus.Desc
	waits                                          *prometheus.Desc
	reserved, used, refunded, debt, ratio          *prometheus.Desc
	stateMissing, clockSteps                       *prometheus.Desc
	storeTook, storeErrors, families, operations   *prometheus.Desc
}

func newCounts(t *tally.Tally) *counts {
	by := []string{"family"}
	if t.ByFlow() {
		by = append(by, "flow")
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("throttle_"+name, help, append(by[:len(by):len(by)], labels...), nil)
	}
	store := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("throttle_"+name, help, labels, nil)
	}
	return &counts{
		tally:     t,
		acquired:  desc("acquired_total", "Reservations granted."),
		settled:   desc("settled_total", "Reservations settled or cancelled. Those acquired and not settled are calls under way, or leaked."),
		waiting:   desc("waiting", "Calls of this process that stand in line now."),
		waits:     desc("wait_duration_seconds", "How long calls stood in line, granted in the end or not, by the resource that bound last; \"none\" for grants without waiting, \"pause\" for a paused family.", "resource"),
		abandoned: desc("abandoned_total", "Calls that left the line without a grant, by reason: canceled, deadline_exceeded, closed, store_error.", "reason"),
		refused:   desc("refused_total", "Calls refused, by reason (no_capacity, deadline, too_large, full) and the resource that was short.", "reason", "resource"),
		reserved:  desc("reserved_units_total", "Units that were reserved, of what was settled.", "resource"),
		used:      desc("used_units_total", "Units used by what was settled or recorded.", "resource"),
		refunded:  desc("refunded_units_total", "Units reserved, not used and given back.", "resource"),
		debt:      desc("debt_units_total", "Units used beyond what was reserved.", "resource"),
		ratio:     desc("usage_ratio", "What was used of what was reserved, by settlement: 1 is an exact estimate.", "resource"),

		stateMissing: store("state_missing_total", "Times that the store had lost a family's state: every bucket started full.", "family"),
		clockSteps:   store("clock_steps_total", "Times that the store's clock was seen to step.", "family"),
		storeTook:    store("store_duration_seconds", "Round trips to the store, failed ones too. A store in the process isn't measured."),
		storeErrors:  store("store_errors_total", "Failed round trips, by kind: closed, timeout, unknown_outcome, other.", "kind"),
		families:     store("store_batch_families", "Families in one batch to the store."),
		operations:   store("store_batch_operations", "Operations in one batch to the store."),
	}
}

// Describe implements [prometheus.Collector].
func (c *counts) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.acquired, c.settled, c.waiting, c.waits, c.abandoned, c.refused, c.reserved, c.used, c.refunded, c.debt, c.ratio,
		c.stateMissing, c.clockSteps, c.storeTook, c.storeErrors, c.families, c.operations,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *counts) Collect(ch chan<- prometheus.Metric) {
	for f := range c.tally.Flows() {
		c.flow(ch, f)
		if f.Last {
			ch <- counter(c.stateMissing, float64(f.StatesMissing), f.Family)
			ch <- counter(c.clockSteps, float64(f.ClockSteps), f.Family)
		}
	}
	s := c.tally.Store()
	ch <- histogram(c.storeTook, s.Took)
	ch <- histogram(c.families, s.Families)
	ch <- histogram(c.operations, s.Operations)
	for kind, n := range s.Errors {
		ch <- counter(c.storeErrors, float64(n), kind)
	}
}

func (c *counts) flow(ch chan<- prometheus.Metric, f *tally.Flow) {
	by := []string{f.Family}
	if c.tally.ByFlow() {
		by = append(by, f.Flow)
	}
	with := func(labels ...string) []string { return append(by[:len(by):len(by)], labels...) }
	ch <- counter(c.acquired, float64(f.Acquired), by...)
	ch <- counter(c.settled, float64(f.Settled), by...)
	ch <- gauge(c.waiting, float64(f.Waiting), by...)
	for cause, h := range f.Waits {
		ch <- histogram(c.waits, h, with(cause)...)
	}
	ch <- histogram(c.waits, unwaited(f.Unwaited), with(Unwaited)...)
	for reason, n := range f.Abandoned {
		ch <- counter(c.abandoned, float64(n), with(reason)...)
	}
	for _, r := range f.Refused {
		ch <- counter(c.refused, float64(r.Count), with(r.Reason, r.Resource)...)
	}
	for i := range f.Resources {
		r := &f.Resources[i]
		ch <- counter(c.reserved, r.Reserved, with(r.Name)...)
		ch <- counter(c.used, r.Used, with(r.Name)...)
		ch <- counter(c.refunded, r.Refunded, with(r.Name)...)
		ch <- counter(c.debt, r.Debt, with(r.Name)...)
		ch <- histogram(c.ratio, r.Ratio, with(r.Name)...)
	}
}

// unwaited is a histogram of n waits of no time at all.
func unwaited(n uint64) *tally.Histogram {
	h := &tally.Histogram{Bounds: tally.WaitBounds, Counts: make([]uint64, len(tally.WaitBounds)+1)}
	h.Counts[0] = n
	return h
}
