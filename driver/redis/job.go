package redis

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/redisscript"
)

// job is a batch on its way. One goroutine runs it; the one that wants the outcome may abandon it.
type job struct {
	d         *Driver
	calls     []*call
	responses []driver.Response

	done  chan struct{} // closed when err and responses stand
	err   error
	tried bool

	mu        sync.Mutex // over what abandon looks at
	abandoned bool
}

// call is all that a batch wants of one key.
type call struct {
	key      string
	requests []redisscript.Request
	names    []driver.Name
	parts    []int // of each part, in order: its request's index in the batch
	sizes    []int // of each part: how many operations
	args     []any // from the key on; the second is the About

	about *redisscript.About // of the sending under way
	since bucket.Micros      // when by the server's clock it can have been applied at the earliest
	// unsure says that an earlier sending may have been applied.
	unsure bool
	// loads says to send the script instead of its hash.
	loads bool
	state callState
	err   error // of the last sending, if it wasn't answered
}

type callState int

const (
	pending callState = iota
	applied
	failed // surely not applied, and there is no use in trying again
)

func (d *Driver) newJob(batch []driver.Request) *job {
	j := &job{d: d, responses: make([]driver.Response, len(batch)), done: make(chan struct{})}
	if len(batch) == 1 {
		c := &call{key: d.redisKey(batch[0].Key)}
		c.add(d, 0, &batch[0], nil)
		j.calls = []*call{c}
	} else {
		byKey := make(map[string]*call, len(batch))
		for i := range batch {
			c := byKey[batch[i].Key]
			var last *driver.Request
			if c == nil {
				c = &call{key: d.redisKey(batch[i].Key)}
				byKey[batch[i].Key] = c
				j.calls = append(j.calls, c)
			} else {
				last = &batch[c.parts[len(c.parts)-1]]
			}
			c.add(d, i, &batch[i], last)
		}
	}
	for _, c := range j.calls {
		for i := range c.requests {
			c.args = c.requests[i].AppendArgs(c.args)
		}
		c.requests = nil // they point into the batch, which is the caller's
	}
	return j
}

// add takes a request of the batch on. Where it has the limits of the one before it the two share a name: a state
// remembers only so many.
func (c *call) add(d *Driver, i int, r, last *driver.Request) {
	c.parts, c.sizes = append(c.parts, i), append(c.sizes, len(r.Ops))
	if last != nil && last.Limits == r.Limits {
		request := &c.requests[len(c.requests)-1]
		request.Parts = append(request.Parts, r.Ops)
		if request.Name == "" && changes(r.Ops) {
			request.Name = c.name(d)
		}
		return
	}
	request := redisscript.Request{Limits: r.Limits, Parts: [][]bucket.Op{r.Ops}}
	if changes(r.Ops) {
		request.Name = c.name(d)
	}
	c.requests = append(c.requests, request)
}

func (c *call) name(d *Driver) string {
	name := d.namer.Take()
	c.names = append(c.names, name)
	return name.String()
}

// changes says whether it matters if operations are carried out twice.
func changes(ops []bucket.Op) bool {
	for i := range ops {
		if ops[i].Kind != bucket.Peek {
			return true
		}
	}
	return false
}

// command is the call as it is sent next.
func (c *call) command(ctx context.Context) *redis.StringCmd {
	args := make([]any, 0, 5+len(c.args))
	if c.loads {
		args = append(args, "eval", redisscript.Source)
	} else {
		args = append(args, "evalsha", redisscript.SHA1)
	}
	args = append(args, "1", c.key, c.about)
	return redis.NewStringCmd(ctx, append(args, c.args...)...)
}

// read takes an answer apart into the responses.
func (c *call) read(text string, responses []driver.Response) error {
	answer := redisscript.ReadAnswer(text)
	for i, at := range c.parts {
		res := &responses[at]
		*res = driver.Response{Now: answer.Now, Absent: answer.Absent && i == 0, Results: make([]bucket.Result, c.sizes[i])}
		answer.Results(res.Results)
		after := answer.End
		if i < len(c.parts)-1 {
			after = answer.Between()
		}
		res.AbsentAt, res.Waiting = after.AbsentAt, after.Waiting
	}
	return answer.Err()
}
