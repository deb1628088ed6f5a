package redisscript

import (
	"github.com/tokenthrottle/throttle/bucket"
)

// Answer is what the script returned, being read.
type Answer struct {
	// Now is the instant at which the requests were applied, and Absent says that there was no state before.
	Now    bucket.Micros
	Absent bool
	// End is how the state stands at the end.
	End Part

	r reader
}

// ReadAnswer begins to read an answer.
func ReadAnswer(text string) Answer {
	a := Answer{r: reader{left: text}}
	a.Now = a.r.micros()
	a.Absent = a.r.byte() == 1
	a.End = a.part()
	return a
}

// Part is how the state stands after a part.
type Part struct {
	AbsentAt bucket.Micros
	Waiting  int
}

func (a *Answer) part() Part { return Part{AbsentAt: a.r.micros(), Waiting: a.r.count()} }

// Results reads what became of the next part's operations.
func (a *Answer) Results(results []bucket.Result) {
	for i := range results {
		res := bucket.Result{Status: bucket.Status(a.r.byte())}
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
		results[i] = res
	}
}

// Between reads how the state stood after the part whose results were read last, which must not be the last one.
func (a *Answer) Between() Part { return a.part() }

// Err returns an error if the answer is not one of the script's. To be asked after the last part.
func (a *Answer) Err() error { return a.r.finish("the script's answer") }

// statusPeeked is Done, with a state.
const statusPeeked bucket.Status = 8
