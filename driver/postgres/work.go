package postgres

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// work is one batch on its way: what each attempt begins from, and what the last one came to.
type work struct {
	batch   []driver.Request
	rows    []row // one a key, in the order in which all transactions write
	keys    *param
	stripes uint64
	names   []driver.Name // one for each time that a key is named in the batch

	lost  bool          // an attempt may have been applied
	since bucket.Micros // no sooner than this

	responses []driver.Response
	ready     []readyPlace
	unknown   bool
}

// row is one key of a batch.
type row struct {
	stored, full string // the columns "key" and "full_key"
	requests     []int  // indexes into the batch

	found bool
	id    string // where the row is, "(page,item)"
	text  []byte // its state, as read
	state bucket.State

	write    bool
	encoded  []byte
	absentAt bucket.Micros
}

func (d *Driver) newWork(batch []driver.Request) *work {
	w := &work{batch: batch, rows: make([]row, 0, len(batch))}
	index := make(map[string]int, len(batch))
	for i := range batch {
		key := batch[i].Key
		at, known := index[key]
		if !known {
			at = len(w.rows)
			index[key] = at
			stored, full := storeKey(key)
			w.rows = append(w.rows, row{stored: stored, full: full})
			w.stripes |= stripe(key)
		}
		r := &w.rows[at]
		r.requests = append(r.requests, i)
		if len(r.requests) > len(w.names) {
			w.names = append(w.names, d.names.Take())
		}
	}
	slices.SortFunc(w.rows, func(a, b row) int { return cmp.Compare(a.stored, b.stored) })
	if len(w.rows) == 1 {
		w.keys = textParam(w.rows[0].stored)
		return w
	}
	keys := textArray(len(w.rows))
	for i := range w.rows {
		addText(keys, w.rows[i].stored)
	}
	w.keys = &keys.param
	return w
}

// done gives the names back: the outcome is known, or reported as unknown.
func (w *work) done() {
	for _, n := range w.names {
		n.Done()
	}
}

// reset forgets what an attempt read.
func (w *work) reset() {
	for i := range w.rows {
		r := &w.rows[i]
		*r = row{stored: r.stored, full: r.full, requests: r.requests}
	}
}

// found takes the state of a key.
func (w *work) found(i int, text []byte, id string) error {
	if i < 0 || i >= len(w.rows) {
		return fmt.Errorf("the server sent a state for key %d of %d", i, len(w.rows))
	}
	r := &w.rows[i]
	r.found, r.id, r.text = true, id, bytes.Clone(text)
	if err := r.state.Decode(r.text); err != nil {
		return &stateError{r.stored, err}
	}
	return nil
}

// decide applies the batch to the states that were read.
func (w *work) decide(now bucket.Micros, notify bool) {
	w.responses = make([]driver.Response, len(w.batch))
	w.ready, w.unknown = nil, false
	for i := range w.rows {
		w.decideRow(&w.rows[i], now, notify)
	}
}

func (w *work) decideRow(r *row, now bucket.Micros, notify bool) {
	s := &r.state
	batches, forgotten := slices.Clone(s.Batches), s.Forgotten
	quiet, frees := true, false
	for n, i := range r.requests {
		request := &w.batch[i]
		response := &w.responses[i]
		*response = driver.Response{Now: now, Absent: !r.found && n == 0, Results: make([]bucket.Result, len(request.Ops))}
		s.Apply(now, &bucket.Request{
			Limits: request.Limits, Ops: request.Ops,
			Batch: w.names[n].String(), Retry: w.lost, Since: w.since,
		}, response.Results)
		response.AbsentAt, response.Waiting = s.AbsentAt(), len(s.Line)
		for j := range request.Ops {
			result := &response.Results[j]
			w.unknown = w.unknown || result.Status == bucket.Unknown
			quiet = quiet && isQuiet(&request.Ops[j], result)
			frees = frees || driver.Frees(&request.Ops[j], result)
		}
	}
	if notify && frees && len(s.Line) > 0 {
		s.Ready(now, func(place string) bool {
			w.ready = append(w.ready, readyPlace{w.batch[r.requests[0]].Key, place})
			return true
		})
	}
	// A name that is remembered for nothing isn't worth a write, unless an attempt was lost: it may still be on its way,
	// and only a write to what it would write makes sure that it fails.
	if !w.lost && (quiet || !r.found && len(r.requests) == 1) {
		named, dropped := s.Batches, s.Forgotten
		s.Batches, s.Forgotten = batches, forgotten
		if !r.found && s.Absent(now) || r.found && bytes.Equal(s.Encode(nil), r.text) {
			for _, i := range r.requests {
				w.responses[i].AbsentAt = s.AbsentAt()
			}
			return
		}
		s.Batches, s.Forgotten = named, dropped
	}
	r.write, r.encoded, r.absentAt = true, s.Encode(nil), s.AbsentAt()
}

// isQuiet says whether an operation probably left its state alone.
func isQuiet(op *bucket.Op, result *bucket.Result) bool {
	switch result.Status {
	case bucket.Refused, bucket.TooLarge:
		return op.Place == ""
	case bucket.Done:
		return op.Kind == bucket.Peek
	case bucket.Invalid, bucket.Skipped:
		return true
	}
	return false
}

// writes puts the second round trip together, and says how many rows it writes; nil if there is nothing to write.
func (w *work) writes(s *session, sql *sqlTexts) (b *pgconn.Batch, rows int) {
	old, fresh := 0, 0
	for i := range w.rows {
		switch r := &w.rows[i]; {
		case r.write && r.found:
			old++
		case r.write:
			fresh++
		}
	}
	if old+fresh == 0 {
		return nil, 0
	}
	b = new(pgconn.Batch)
	if r := &w.rows[0]; len(w.rows) == 1 && old == 1 {
		s.add(b, &sql.updateOne, textParam(r.id), textParam(r.encoded), instantParam(r.absentAt))
		s.add(b, &commitStatement)
		return b, 1
	}
	ids, states, absents := textArray(old), textArray(old), timeArray(old)
	keys, fulls, newStates, newAbsents := textArray(fresh), textArray(fresh), textArray(fresh), timeArray(fresh)
	for i := range w.rows {
		switch r := &w.rows[i]; {
		case r.write && r.found:
			addText(ids, r.id)
			addText(states, r.encoded)
			absents.addInstant(r.absentAt)
		case r.write:
			addText(keys, r.stored)
			if r.full == "" {
				fulls.null()
			} else {
				addText(fulls, r.full)
			}
			addText(newStates, r.encoded)
			newAbsents.addInstant(r.absentAt)
		}
	}
	if old > 0 {
		s.add(b, &sql.update, &ids.param, &states.param, &absents.param)
	}
	if fresh > 0 {
		s.add(b, &sql.insert, &keys.param, &fulls.param, &newStates.param, &newAbsents.param)
	}
	s.add(b, &commitStatement)
	return b, old + fresh
}
