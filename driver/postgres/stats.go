package postgres

import "sync/atomic"

// Stats count what a [Driver] has done since it was made.
type Stats struct {
	// Batches is the number of Applies that were answered.
	Batches uint64
	// Conflicts is how often an attempt was repeated because another transaction was first. About one a batch is usual
	// where two programs share a busy key, more where more do.
	Conflicts uint64
	// Broken is how often an attempt was repeated because its connection or the server was gone.
	Broken uint64
	// Lost is how often the answer to a COMMIT was lost, and Unknown how often it couldn't be told what had become of it.
	Lost, Unknown uint64
}

type counters struct {
	batches, conflicts, broken, lost, unknown atomic.Uint64
}

// Stats returns the counts so far.
func (d *Driver) Stats() Stats {
	c := &d.counters
	return Stats{
		Batches: c.batches.Load(), Conflicts: c.conflicts.Load(), Broken: c.broken.Load(),
		Lost: c.lost.Load(), Unknown: c.unknown.Load(),
	}
}
