package main

import (
	"testing"
	"time"
)

// Leases must cost the store less and never let more through than the bucket holds.
func TestLeasesSpareTheStoreWithinTheBound(t *testing.T) {
	plan := Plan{
		Processes: 200, Rate: 10_000, Burst: 600_000, Level: 1_000, Load: 0.8, Shards: 1, Seed: 3, For: 2 * time.Second,
		Store: Store{Each: 20 * time.Microsecond, Distance: 500 * time.Microsecond},
	}
	direct := plan.Run()
	plan.Lease = 250 * time.Millisecond
	leased := plan.Run()
	if leased.Operations > direct.Operations/2 {
		t.Errorf("%.0f operations a second with leases, %.0f without: want less than half", leased.Operations, direct.Operations)
	}
	for name, r := range map[string]Report{"direct": direct, "leased": leased} {
		if r.Beyond > 0 {
			t.Errorf("%s: %v units beyond the bound", name, r.Beyond)
		}
		if r.Ideal < 0.98 {
			t.Errorf("%s: %.3f of the calls that an ideal bucket serves", name, r.Ideal)
		}
	}
}

// Where more is asked for than there is, what is served must still be what the bucket gives, all of it and no more.
func TestOverload(t *testing.T) {
	for _, lease := range []time.Duration{0, 100 * time.Millisecond} {
		r := Plan{
			Processes: 200, Rate: 10_000, Burst: 600_000, Level: 1_000, Load: 2, Shards: 2, Seed: 4, For: 2 * time.Second, Lease: lease,
			Store: Store{Each: 20 * time.Microsecond, Distance: 500 * time.Microsecond},
		}.Run()
		if r.Beyond > 0 || r.Ideal < 0.95 || r.Ideal > 1 {
			t.Errorf("lease %v: %v beyond the bound, %.3f of the ideal: want 0 and nearly 1", lease, r.Beyond, r.Ideal)
		}
	}
}

// Leases come on top of a full bucket where they are held while it fills; what is kept back for them makes that good. The
// first shows that the measure would notice.
func TestReserveKeepsTheBound(t *testing.T) {
	const lease = 250 * time.Millisecond
	if r := tight(lease, 0).Run(); r.Beyond == 0 || r.Beyond > r.Leased {
		t.Errorf("without a reserve %v beyond the bound, at most %v leased: want something, and no more than that", r.Beyond, r.Leased)
	}
	for _, reserve := range []float64{100, 250} {
		r := tight(lease, reserve).Run()
		if r.Beyond > 0 {
			t.Errorf("with a reserve of %v: %v beyond the bound", reserve, r.Beyond)
		}
		if r.Ideal < 0.95 {
			t.Errorf("with a reserve of %v: %.3f of the ideal", reserve, r.Ideal)
		}
	}
}
