package redisscript

import (
	"fmt"

	"github.com/tokenthrottle/throttle/bucket"
)

// Answer is what the script returned, being read.
type Answer struct {
	// Now is the instant at which the requests were applied, and Absent says that there was no state before.
	Now    bucket.Micros
	Absent bool

	r     reader
	end   Part
	quick bool          // the answer is one of the quick way's
	at    bucket.Micros // of the levels
	least bucket.Micros // what AbsentAt is at the least
}

// quickAnswer is added to whether there was no state, 0 or 1, where the answer is one of the quick way's.
const quickAnswer = 2

// ReadAnswer begins to read an answer.
func ReadAnswer(text string) Answer {
	a := Answer{r: reader{left: text}}
	a.Now = a.r.micros()
	kind := a.r.byte()
	a.Absent, a.quick = kind%2 == 1, kind >= quickAnswer
	if a.quick {
		a.at, a.least = a.r.micros(), a.r.micros()
	} else {
		a.end = a.part()
	}
	return a
}

// Part is how the state stands after a part.
type Part struct {
	AbsentAt bucket.Micros
	Waiting  int
}

func (a *Answer) part() Part { return Part{AbsentAt: a.r.micros(), Waiting: a.r.count()} }

// Part reads what became of the next part's operations, and how the state stood after them. last says that no part follows.
func (a *Answer) Part(limits *bucket.Limits, ops []bucket.Op, results []bucket.Result, last bool) Part {
	if a.quick {
		return a.quickPart(limits, ops, results)
	}
	for i := range results {
		a.result(&results[i])
	}
	if last {
		return a.end
	}
	return a.part()
}

func (a *Answer) result(res *bucket.Result) {
	*res = bucket.Result{Status: bucket.Status(a.r.byte())}
	switch res.Status {
	case bucket.Refused:
		res.Quota = a.r.byte() - 1
		res.RetryAfter = a.r.micros()
		res.Place = a.r.count()
	case bucket.TooLarge:
		res.Quota = a.r.byte() - 1
	case statusPeeked:
		res.Status = bucket.Done
		state, err := DecodeState(a.r.take(a.r.uint32()))
		if err != nil {
			a.r.fail("%w", err)
		}
		res.State = state
	}
}

// quickPart reads levels, and computes from them what the script would have spent most of its time on.
func (a *Answer) quickPart(limits *bucket.Limits, ops []bucket.Op, results []bucket.Result) Part {
	for i := range results {
		results[i] = bucket.Result{Status: bucket.Done}
		if ops[i].Kind == bucket.Acquire {
			results[i].Status = bucket.Granted
		}
	}
	if limits == nil {
		a.r.fail("levels without limits")
		return Part{}
	}
	var few [4]bucket.Bucket
	s := bucket.State{At: a.at, Buckets: few[:0]}
	for i := range limits.Len() {
		s.Buckets = append(s.Buckets, bucket.Bucket{Quota: limits.Quota(i), Level: a.r.double()})
	}
	return Part{AbsentAt: max(a.least, s.AbsentAt())}
}

// Err returns an error if the answer is not one of the script's. To be asked after the last part.
func (a *Answer) Err() error {
	if err := a.r.finish(); err != nil {
		return fmt.Errorf("the script's answer can't be read: %w", err)
	}
	return nil
}

// statusPeeked is Done, with a state.
const statusPeeked bucket.Status = 8
