package redis

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/redisscript"
)

// job is a batch on its way. One goroutine runs it; the one that wants the outcome may abandon it.
type job struct {
	d         *Driver
	batch     []driver.Request // the caller's: not to be looked at once the job was abandoned
	calls     []*call
	names     []driver.Name // the n-th named request of each key bears the n-th: a state remembers few clients
	responses []driver.Response
	err       error
	tried     bool
	last      time.Time     // when to begin no further attempt, as long as it is sure that nothing was done; zero: see ctx
	done      chan struct{} // closed when err and responses stand, where another goroutine waits for it

	mu        sync.Mutex // over what abandon looks at
	abandoned bool

	// What follows backs slices where there is one call, which is the usual case.
	one     call
	oneName [1]driver.Name
	only    [1]*call
	sent    [1]*call
	cmds    [1]*redis.StringCmd
}

// call is all that a batch wants of one key.
type call struct {
	d     *Driver
	key   string
	job   *job
	named int   // of its requests have a name: the job's first, second and so on
	parts []int // indexes into the batch
	args  redisscript.Args

	about *redisscript.About // of the sending under way
	since bucket.Micros      // when by the server's clock it can have been applied at the earliest
	tried bool               // there was one
	// unsure says that an earlier sending may have been applied.
	unsure bool
	// loads says to send the script instead of its hash.
	loads bool
	state callState
	err   error // of the last sending, if it wasn't answered

	open redisscript.Request // taken on, but not packed yet

	onePart [1]int            // backs parts where it is one,
	oneOps  [1][]bucket.Op    // and open.Parts,
	few     [9]any            // and the command's arguments where they are of one request,
	first   redisscript.About // and about the first time
}

type callState int

const (
	pending callState = iota
	applied
	failed // surely not applied, and there is no use in trying again
)

func (d *Driver) newJob(batch []driver.Request) *job {
	j := &job{d: d, batch: batch, responses: make([]driver.Response, len(batch))}
	j.names = j.oneName[:0]
	if len(batch) == 1 {
		c := &j.one
		c.init(j, batch[0].Key)
		c.take(0, &batch[0])
		c.pack()
		j.only[0] = c
		j.calls = j.only[:]
		return j
	}
	// The requests on a key are one call. What calls need is allocated for all of them at once: it is gone at once as well.
	numbers := make(map[string]int, len(batch))
	for i := range batch {
		if _, ok := numbers[batch[i].Key]; !ok {
			numbers[batch[i].Key] = len(numbers)
		}
	}
	calls, packed := make([]call, len(numbers)), make([]byte, len(numbers)*usualSize)
	j.calls = make([]*call, len(numbers))
	for i := range batch {
		n := numbers[batch[i].Key]
		c := &calls[n]
		if c.d == nil {
			c.init(j, batch[i].Key)
			c.args.Use(packed[n*usualSize : n*usualSize : (n+1)*usualSize])
			j.calls[n] = c
		}
		c.take(i, &batch[i])
	}
	for _, c := range j.calls {
		c.pack()
	}
	return j
}

// usualSize is more bytes than a request of three buckets is packed into. A larger one gets memory of its own.
const usualSize = 256

func (c *call) init(j *job, key string) {
	c.d, c.job, c.key = j.d, j, j.d.redisKey(key)
	c.parts = c.onePart[:0]
}

// take takes a request of the batch on. Those that follow each other with the same limits share a name: a state remembers
// only so many.
func (c *call) take(at int, r *driver.Request) {
	switch {
	case len(c.parts) == 0:
		c.oneOps[0] = r.Ops
		c.open = redisscript.Request{Limits: r.Limits, Parts: c.oneOps[:]}
	case c.open.Limits == r.Limits:
		c.open.Parts = append(c.open.Parts, r.Ops)
	default:
		c.pack()
		c.open = redisscript.Request{Limits: r.Limits, Parts: [][]bucket.Op{r.Ops}}
	}
	c.parts = append(c.parts, at)
}

// pack packs the request that was taken on, with a name if it matters that it is not carried out twice.
func (c *call) pack() {
	r := &c.open
	if slices.ContainsFunc(r.Parts, changes) {
		j := c.job
		if c.named == len(j.names) {
			j.names = append(j.names, j.d.namer.Take())
		}
		r.Name = j.names[c.named].String()
		c.named++
	}
	c.args.Add(r)
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

// sha1 is what EVALSHA calls the script by, as the client takes it.
var sha1 = sync.OnceValue(func() any { return redisscript.SHA1() })

// command is the call as it is sent next. Whoever hooks into the client may hold the last one's parts, so only the first
// uses memory that is there already.
func (c *call) command(ctx context.Context) *redis.StringCmd {
	args := c.few[:0]
	c.about = &c.first
	if c.tried || len(c.parts) > 1 {
		args = make([]any, 0, 5+4*len(c.parts))
		c.about = new(redisscript.About)
	}
	c.tried = true
	c.about.Prefix, c.about.Retry, c.about.Since = len(c.d.prefix), c.unsure, c.since
	if c.loads {
		args = append(args, "eval", redisscript.Source())
	} else {
		args = append(args, "evalsha", sha1())
	}
	return redis.NewStringCmd(ctx, c.args.AppendTo(append(args, "1", c.key, c.about))...)
}

// read takes an answer to requests of the batch apart into the responses.
func (c *call) read(text string, batch []driver.Request, responses []driver.Response) error {
	answer := redisscript.ReadAnswer(text)
	operations := 0
	for _, at := range c.parts {
		operations += len(batch[at].Ops)
	}
	all := make([]bucket.Result, operations)
	for i, at := range c.parts {
		r, res := &batch[at], &responses[at]
		*res = driver.Response{Now: answer.Now, Absent: answer.Absent && i == 0, Results: all[:len(r.Ops):len(r.Ops)]}
		all = all[len(r.Ops):]
		after := answer.Part(r.Limits, r.Ops, res.Results, i == len(c.parts)-1)
		res.AbsentAt, res.Waiting = after.AbsentAt, after.Waiting
	}
	return answer.Err()
}
