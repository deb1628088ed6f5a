package bucket

import (
	"slices"
	"strings"
)

// applyOnce applies a request that has a name. What a repeat finds done is not done again; what had no effect then (an
// acquire that was refused) is tried now, so that the answer to a repeat is as fresh as any.
func (s *State) applyOnce(now, t Micros, l *Limits, r *Request, results []Result) {
	if !ValidName(r.Batch) {
		fill(results, Invalid)
		return
	}
	done := ""
	if i := s.findBatch(r.Batch); i >= 0 {
		done = s.Batches[i].Effects
	} else if r.Retry && !s.remembers(t, r.Since) {
		fill(results, Unknown)
		return
	}
	effects := make([]byte, len(r.Ops))
	for i := range r.Ops {
		o, res := &r.Ops[i], &results[i]
		if i < len(done) && done[i] == '1' && o.Kind != Peek {
			*res = Result{Status: Done}
			if o.Kind == Acquire {
				res.Status = Granted
			}
		} else if o.After && !granted(results, i-1) {
			*res = Result{Status: Skipped}
		} else {
			s.apply(now, t, l, o, res)
			t = max(now, s.At)
		}
		effects[i] = '0'
		if res.Status == Done || res.Status == Granted {
			effects[i] = '1'
		}
	}
	s.remember(Batch{ID: r.Batch, At: t, Effects: string(effects)})
}

func fill(results []Result, status Status) {
	for i := range results {
		results[i] = Result{Status: status}
	}
}

// remembers says whether a batch that was applied at since or later would be found at t, even if the driver had dropped
// the key as soon as it could.
func (s *State) remembers(t, since Micros) bool {
	return since <= t && since > t-RetryWindow && (s.Forgotten == 0 || s.Forgotten < since)
}

func (s *State) findBatch(id string) int {
	return slices.IndexFunc(s.Batches, func(b Batch) bool { return b.ID == id })
}

// remember keeps b in place of its client's last batch. It drops what is older than the window, and the oldest where
// there is no room.
func (s *State) remember(b Batch) {
	client := clientOf(b.ID)
	s.Batches = slices.DeleteFunc(s.Batches, func(old Batch) bool {
		return old.At <= b.At-RetryWindow || clientOf(old.ID) == client
	})
	if len(s.Batches) == MaxBatches {
		s.Forgotten = max(s.Forgotten, s.Batches[0].At)
		s.Batches = slices.Delete(s.Batches, 0, 1)
	}
	s.Batches = append(s.Batches, b)
}

// clientOf is the part of a batch's name before its last slash, or all of it.
func clientOf(id string) string {
	if i := strings.LastIndexByte(id, '/'); i >= 0 {
		return id[:i]
	}
	return id
}
