package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// honest applies a request as it should be.
func honest(now bucket.Micros, s *bucket.State, w *transfer) {
	s.Apply(now, &bucket.Request{Limits: w.Limits, Ops: w.Ops}, w.res.Results)
}

// answering is a flaw in what is told: the work is done as it should be.
func answering(edit func(batch []driver.Request, responses []driver.Response) ([]driver.Response, error)) flaw {
	return flaw{outer: func(_ *subject, next applyFunc) applyFunc {
		return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
			responses, err := next(ctx, batch)
			if err != nil {
				return nil, err
			}
			return edit(batch, responses)
		}
	}}
}

// telling is a flaw in each response.
func telling(edit func(r *driver.Request, res *driver.Response)) flaw {
	return answering(func(batch []driver.Request, responses []driver.Response) ([]driver.Response, error) {
		for i := range responses {
			edit(&batch[i], &responses[i])
		}
		return responses, nil
	})
}

// asking is a flaw in what is asked for: the batch is changed on its way, in a copy.
func asking(edit func(r *driver.Request)) flaw {
	return flaw{outer: func(_ *subject, next applyFunc) applyFunc {
		return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
			batch = slices.Clone(batch)
			for i := range batch {
				batch[i].Ops = slices.Clone(batch[i].Ops)
				edit(&batch[i])
			}
			return next(ctx, batch)
		}
	}}
}

func brokenAnswers() []broken {
	return []broken{
		{"responses sorted by key", "answers/order", "is not that of its request", flaw{outer: func(_ *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				batch = slices.Clone(batch)
				slices.SortStableFunc(batch, func(a, b driver.Request) int { return strings.Compare(a.Key, b.Key) })
				return next(ctx, batch)
			}
		}}},
		{"results of granted acquires only", "answers/results", "2 results for 3 operations", telling(func(_ *driver.Request, res *driver.Response) {
			res.Results = slices.DeleteFunc(res.Results, func(r bucket.Result) bool { return r.Status == bucket.Done && r.State == nil })
		})},
		{"a refusal is an error", "answers/refusals", "refused", answering(func(_ []driver.Request, responses []driver.Response) ([]driver.Response, error) {
			for _, r := range responses {
				for _, res := range r.Results {
					if res.Status == bucket.Refused {
						return nil, errors.New("refused")
					}
				}
			}
			return responses, nil
		})},
		{"never absent", "answers/absent", "Absent is false for the first request", telling(func(_ *driver.Request, res *driver.Response) { res.Absent = false })},
		{"absent when full", "answers/absent", "Absent is true for a full key after set-limit", telling(func(_ *driver.Request, res *driver.Response) {
			for _, r := range res.Results {
				if r.State != nil && !slices.ContainsFunc(r.State.Buckets, func(b bucket.Bucket) bool { return b.Level < b.Cap() }) {
					res.Absent = true
				}
			}
		})},
		{"absent-at without the line", "answers/absent-at", "AbsentAt is", flaw{outer: func(d *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				responses, err := next(ctx, batch)
				d.store.mu.Lock()
				defer d.store.mu.Unlock()
				for i := range responses {
					if s := d.store.states[batch[i].Key]; s != nil {
						s = s.Clone()
						s.Line = nil
						responses[i].AbsentAt = s.AbsentAt()
					}
				}
				return responses, err
			}
		}}},
		{"waiting counts whoever was refused", "answers/waiting", "Waiting is", telling(func(_ *driver.Request, res *driver.Response) {
			res.Waiting = 0
			for _, r := range res.Results {
				if r.Status == bucket.Refused {
					res.Waiting++
				}
			}
		})},
		{"peek returns the state itself", "answers/own", "state is of", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i := range w.res.Results {
				if w.res.Results[i].State != nil {
					w.res.Results[i].State = s
				}
			}
		}}},
	}
}

func brokenKeys() []broken {
	stored := func(as func(string) string) flaw { return flaw{key: as} }
	return []broken{
		{"the empty key is an error", "keys/any", "no key", flaw{outer: func(_ *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				if slices.ContainsFunc(batch, func(r driver.Request) bool { return r.Key == "" }) {
					return nil, errors.New("no key")
				}
				return next(ctx, batch)
			}
		}}},
		{"keys end at a NUL", "keys/apart", "was never used, but is there", stored(func(key string) string { before, _, _ := strings.Cut(key, "\x00"); return before })},
		{"keys in lower case", "keys/apart", "was never used, but is there", stored(strings.ToLower)},
		{"keys made UTF-8", "keys/apart", "was never used, but is there", stored(func(key string) string { return strings.ToValidUTF8(key, "\ufffd") })},
		{"keys cut at 255 bytes", "keys/apart", "was never used, but is there", stored(func(key string) string { return key[:min(255, len(key))] })},
		{"keys cut a byte short", "keys/apart", "was never used, but is there", stored(func(key string) string { return key[:min(driver.MaxKey-1, len(key))] })},
		{"keys without trailing blanks", "keys/apart", "was never used, but is there", stored(func(key string) string { return strings.TrimRight(key, " ") })},
		{"keys by hash tag alone", "keys/apart", "was never used, but is there", stored(func(key string) string {
			if _, rest, found := strings.Cut(key, "{"); found {
				if tag, _, closed := strings.Cut(rest, "}"); closed && tag != "" {
					return tag
				}
			}
			return key
		})},
		{"keys as clean paths", "keys/apart", "was never used, but is there", stored(func(key string) string { return strings.ReplaceAll(key, "//", "/") })},
		{"keys that are too long are cut", "keys/too-long", "was accepted", flaw{outer: func(_ *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				batch = slices.Clone(batch)
				for i := range batch {
					batch[i].Key = batch[i].Key[:min(driver.MaxKey, len(batch[i].Key))]
				}
				return next(ctx, batch)
			}
		}}},
		{"a batch is checked as it goes", "keys/too-long", "was applied", flaw{outer: func(_ *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				var all []driver.Response
				for i := range batch {
					some, err := next(ctx, batch[i:i+1])
					if err != nil {
						return nil, err
					}
					all = append(all, some...)
				}
				return all, nil
			}
		}}},
	}
}

func brokenNumbers() []broken {
	levels := func(edit func(float64) float64) flaw {
		return flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i := range s.Buckets {
				s.Buckets[i].Level = edit(s.Buckets[i].Level)
			}
		}}
	}
	unquoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	return []broken{
		{"negative costs count as zero", "numbers/invalid", "status is done, want invalid", asking(func(r *driver.Request) {
			for i := range r.Ops {
				if r.Ops[i].Kind == bucket.Record && len(r.Ops[i].Cost) > 0 && r.Ops[i].Cost[0] < 0 {
					r.Ops[i].Cost = nil
				}
			}
		})},
		{"NaN passes for a cost", "numbers/invalid", "want invalid", asking(func(r *driver.Request) {
			for i := range r.Ops {
				if len(r.Ops[i].Cost) > 0 && math.IsNaN(r.Ops[i].Cost[0]) {
					r.Ops[i].Cost = nil
				}
			}
		})},
		{"levels in single precision", "numbers/exact", "want", levels(func(level float64) float64 { return float64(float32(level)) })},
		{"levels to fourteen digits", "numbers/exact", "want", levels(func(level float64) float64 {
			var short float64
			_, _ = fmt.Sscan(fmt.Sprintf("%.14g", level), &short)
			return short
		})},
		{"whole units", "numbers/exact", "want", levels(math.Floor)},
		{"names escaped twice", "numbers/names", "line is", asking(func(r *driver.Request) {
			for i := range r.Ops {
				if place := unquoted.Replace(r.Ops[i].Place); len(place) <= bucket.MaxName {
					r.Ops[i].Place = place
				}
			}
		})},
		{"a state of sixteen buckets at most", "numbers/large", "buckets are", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i := 16; i < len(s.Buckets); i++ {
				s.Buckets[i].Level = s.Buckets[i].Cap()
			}
		}}},
		{"a line of fifty places at most", "numbers/large", "Waiting is", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for len(s.Line) > 50 {
				s.Apply(now, &bucket.Request{Ops: []bucket.Op{{Kind: bucket.Leave, Place: s.Line[50].ID}}}, make([]bucket.Result, 1))
			}
		}}},
	}
}

func brokenRequests() []broken {
	// apart sends each operation as a request of its own.
	apart := flaw{outer: func(_ *subject, next applyFunc) applyFunc {
		return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
			responses := make([]driver.Response, len(batch))
			for i, r := range batch {
				for j := range max(1, len(r.Ops)) {
					some := r
					some.Ops = r.Ops[min(j, len(r.Ops)):min(j+1, len(r.Ops))]
					res, err := next(ctx, []driver.Request{some})
					if err != nil {
						return nil, err
					}
					results := append(responses[i].Results, res[0].Results...)
					responses[i], responses[i].Results = res[0], results
				}
			}
			return responses, nil
		}
	}}
	reversed := flaw{outer: func(_ *subject, next applyFunc) applyFunc {
		return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
			batch = slices.Clone(batch)
			slices.Reverse(batch)
			responses, err := next(ctx, batch)
			slices.Reverse(responses)
			return responses, err
		}
	}}
	return []broken{
		{"a refused acquire debits its first bucket", "atomic/all-or-none", "was refused, but bucket 0 went", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i, r := range w.res.Results {
				if r.Status == bucket.Refused && len(w.Ops[i].Cost) > 0 && s.Buckets[0].Level >= w.Ops[i].Cost[0] {
					s.Buckets[0].Level -= w.Ops[i].Cost[0]
				}
			}
		}}},
		{"credits before debits", "atomic/ops-as-one", "each sees what those before it did", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			for _, credits := range []bool{true, false} {
				for i := range w.Ops {
					if (w.Ops[i].Kind == bucket.Adjust) == credits {
						s.Apply(now, &bucket.Request{Limits: w.Limits, Ops: w.Ops[i : i+1]}, w.res.Results[i:])
					}
				}
			}
		}}},
		{"operations one by one", "atomic/isolated", "another request came between", apart},
		{"a batch backwards", "batches/same-key", "each of a key finds what those before it left", reversed},
		{"the last request on a key alone", "batches/same-key", "each of a key finds what those before it left", flaw{outer: func(d *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				// Each finds what was there before the batch.
				before := map[string]*bucket.State{}
				responses := make([]driver.Response, len(batch))
				for i := range batch {
					d.store.mu.Lock()
					if s, known := before[batch[i].Key]; known {
						delete(d.store.states, batch[i].Key)
						if s != nil {
							d.store.states[batch[i].Key] = s.Clone()
						}
					} else if s := d.store.states[batch[i].Key]; s != nil {
						before[batch[i].Key] = s.Clone()
					} else {
						before[batch[i].Key] = nil
					}
					d.store.mu.Unlock()
					res, err := next(ctx, batch[i:i+1])
					if err != nil {
						return nil, err
					}
					responses[i] = res[0]
				}
				return responses, nil
			}
		}}},
		{"a hundred requests at most", "batches/large", "100 responses for 300 requests", flaw{outer: func(_ *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				return next(ctx, batch[:min(100, len(batch))])
			}
		}}},
		{"a credit passes the burst", "differential/one-key", "buckets are", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i := range w.Ops {
				if o := &w.Ops[i]; o.Kind == bucket.Adjust && w.res.Results[i].Status == bucket.Done && len(o.Cost) > 0 && o.Cost[0] > 0 && len(s.Buckets) > 0 {
					s.Buckets[0].Level += o.Cost[0]
				}
			}
		}}},
		{"a debt is forgiven", "differential/one-key", "buckets are", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i := range s.Buckets {
				s.Buckets[i].Level = max(0, s.Buckets[i].Level)
			}
		}}},
		{"an observation raises a level", "differential/one-key", "want", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i := range w.Ops {
				if o := &w.Ops[i]; o.Kind == bucket.Observe && w.res.Results[i].Status == bucket.Done && !math.IsNaN(o.Level) && len(s.Buckets) == w.Limits.Len() {
					s.Buckets[o.Quota].Level = min(o.Level, s.Buckets[o.Quota].Cap())
				}
			}
		}}},
		{"priority is ignored", "differential/one-key", "", asking(func(r *driver.Request) {
			for i := range r.Ops {
				r.Ops[i].Priority = 0
			}
		})},
		{"the limits of who came first", "differential/batches", "", firstLimits()},
		{"a batch is used again as it is", "memory/batch", "", flaw{apply: func(_ *subject, now bucket.Micros, s *bucket.State, w *transfer) {
			honest(now, s, w)
			for i := range s.Line { // the cost of a place is the caller's own slice
				for j := range w.Ops {
					if w.Ops[j].Place == s.Line[i].ID && len(w.Ops[j].Cost) == len(s.Line[i].Cost) {
						s.Line[i].Cost = w.Ops[j].Cost
					}
				}
			}
		}}},
		{"a batch is sorted where it lies", "memory/unchanged", "Apply changed the batch", flaw{outer: func(_ *subject, next applyFunc) applyFunc {
			return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
				slices.SortStableFunc(batch, func(a, b driver.Request) int { return strings.Compare(a.Key, b.Key) })
				return next(ctx, batch)
			}
		}}},
		{"reading and writing are two steps", "concurrent/goroutines", "an update was lost", flaw{racy: true}},
		{"the lock is an instance's own", "concurrent/instances", "an update was lost", lockingByInstance()},
		{"locks in the order of the batch", "concurrent/order", "did not return within", lockingInOrder()},
	}
}

// firstLimits goes on with the limits that a key was first asked for with.
func firstLimits() flaw {
	first := map[string]*bucket.Limits{}
	return asking(func(r *driver.Request) {
		if l, known := first[r.Key]; known {
			r.Limits = l
		} else {
			first[r.Key] = r.Limits
		}
	})
}

// lockingByInstance is safe in one process only.
func lockingByInstance() flaw {
	var locks sync.Map // by instance
	return flaw{racy: true, outer: func(d *subject, next applyFunc) applyFunc {
		return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
			lock, _ := locks.LoadOrStore(d, new(sync.Mutex))
			lock.(*sync.Mutex).Lock()
			defer lock.(*sync.Mutex).Unlock()
			return next(ctx, batch)
		}
	}}
}

// lockingInOrder takes a lock for each key of a batch, in the order in which the batch names them.
func lockingInOrder() flaw {
	var mu sync.Mutex
	locks := map[string]*sync.Mutex{}
	return flaw{outer: func(_ *subject, next applyFunc) applyFunc {
		return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
			taken := map[string]bool{}
			for _, r := range batch {
				if taken[r.Key] {
					continue
				}
				taken[r.Key] = true
				mu.Lock()
				if locks[r.Key] == nil {
					locks[r.Key] = new(sync.Mutex)
				}
				lock := locks[r.Key]
				mu.Unlock()
				lock.Lock()
				defer lock.Unlock()
			}
			return next(ctx, batch)
		}
	}}
}
