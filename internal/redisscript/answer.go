package redisscript

import (
	"github.com/tokenthrottle/throttle/bucket"
)

// Answer is what the script returned, being read.
type Answer struct {
	// Now is the instant at which the requests were applied, and Absent says that there was no state before.
	Now    bucket.Micros
	Absent bool

	r reader
}

// ReadAnswer begins to read an answer.
func ReadAnswer(text string) *Answer {
	a := &Answer{r: reader{left: text}}
	a.Now = a.r.micros()
	a.Absent = a.r.byte() == 1
	return a
}

// Part is how the state stands after a part.
type Part struct {
	AbsentAt bucket.Micros
	Waiting  int
}

// Part reads the answer to the next part, of as many operations as results has room for.
func (a *Answer) Part(results []bucket.Result) Part {
	for i := range results {
		res := bucket.Result{Status: bucket.Status(a.r.byte())}
		switch res.Status {
		case bucket.Refused:
			res.Quota = a.r.byte() - 1
			res.RetryAfter = a.r.micros()
			res.Place = a.r.count()
		case bucket.TooLarge:
			res.Quota = a.r.byte() - 1
		case bucket.Status(statusPeeked):
			res.Status = bucket.Done
			state, err := DecodeState(a.r.take(a.r.uint32()))
			if err != nil {
				a.r.fail("%w", err)
			}
			res.State = state
		}
		results[i] = res
	}
	return Part{AbsentAt: a.r.micros(), Waiting: a.r.count()}
}

// Err returns an error if the answer is not one of the script's. To be asked after the last part.
func (a *Answer) Err() error { return a.r.finish("the script's answer") }

// statusPeeked is Done, with a state.
const statusPeeked = 8
