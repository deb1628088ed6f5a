package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/bolt"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/driver/redis"
)

// curve is how the time of an operation grows with something, on one driver.
type curve struct {
	Dimension string  `json:"dimension"`
	Driver    string  `json:"driver"`
	Points    []point `json:"points"`
}

// point is nanoseconds an operation at n of whatever grows.
type point struct {
	N  int     `json:"n"`
	NS float64 `json:"ns"`
}

// dimension is something that grows.
type dimension struct {
	name, title string
	sizes       []int
	measure     func(d driver.Driver, sizes []int) ([]point, error)
}

var dimensions = []dimension{
	{"keys", "keys in the store", []int{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000}, growKeys},
	{bucketsDimension, "buckets a key", []int{1, 2, 4, 8, 16, 32}, growBuckets},
	{"waiters", "calls that wait in one process", []int{1, 10, 100, 1_000, 10_000, 100_000}, growWaiters},
	{"processes", "processes in the line", []int{1, 2, 4, 8, 16, 32, 64}, growProcesses},
}

// opener makes a driver of its own, on a store that is empty.
type opener struct {
	name string
	open func() (driver.Driver, func(), error)
}

var openers = []opener{
	{"memory", func() (driver.Driver, func(), error) {
		d := memory.New()
		return d, func() { d.Close() }, nil
	}},
	{"bolt", func() (driver.Driver, func(), error) {
		dir, err := os.MkdirTemp(".", "bench-")
		if err != nil {
			return nil, nil, err
		}
		d, err := bolt.Open(filepath.Join(dir, "limits.db"), nil)
		return d, func() { d.Close(); warn(os.RemoveAll(dir)) }, err
	}},
	{"redis", func() (driver.Driver, func(), error) {
		url, err := redisServer.url()
		if err != nil {
			return nil, nil, err
		}
		o, err := goredis.ParseURL(url)
		if err != nil {
			return nil, nil, err
		}
		c := goredis.NewClient(o)
		d := redis.New(c, nil)
		return d, func() { d.Close(); c.FlushDB(context.Background()); c.Close() }, nil
	}},
	{"postgres", func() (driver.Driver, func(), error) {
		p, free, err := newPlace()
		if err != nil {
			return nil, nil, err
		}
		pool, err := p.pool(ourConnections)
		if err != nil {
			return nil, free, err
		}
		options := &postgres.Options{Schema: p.Schema}
		if err := postgres.Migrate(context.Background(), pool, options); err != nil {
			return nil, free, err
		}
		d, err := postgres.New(context.Background(), pool, options)
		return d, func() { d.Close(); pool.Close(); free() }, err
	}},
}

// measureGrowth measures every curve.
func measureGrowth(log io.Writer) ([]curve, error) {
	var curves []curve
	for _, dim := range dimensions {
		for _, o := range openers {
			d, free, err := o.open()
			if err != nil {
				return curves, fmt.Errorf("%s: %w", o.name, err)
			}
			start := time.Now()
			points, err := dim.measure(d, dim.sizes)
			free()
			if err != nil {
				return curves, fmt.Errorf("growth of %s on %s: %w", dim.name, o.name, err)
			}
			curves = append(curves, curve{dim.name, o.name, points})
			fmt.Fprintf(log, "growth %-10s %-10s %s\n", dim.name, o.name, time.Since(start).Round(100*time.Millisecond))
		}
	}
	return curves, nil
}

// together is how many requests go to the store at once, as from a busy limiter.
const together = 64

// enough is how long a curve may take to fill a store; what is larger is left out.
const enough = 60 * time.Second

// request acquires cost of a key.
func request(key string, l *bucket.Limits, cost ...float64) driver.Request {
	return driver.Request{Key: key, Limits: l, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: cost}}}
}

func threeLimits() (*bucket.Limits, error) {
	return bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: requestsPerMinute, Per: bucket.Minute, Burst: requestBurst},
		bucket.Quota{Resource: "tokens", Limit: tokensPerMinute, Per: bucket.Minute, Burst: tokenBurst},
		bucket.Quota{Resource: "requests", Limit: requestsPerDay, Per: bucket.Day, Burst: requestBurst},
	)
}

// growKeys fills the store with ever more keys and measures requests on keys all over it, so many at a time.
func growKeys(d driver.Driver, sizes []int) ([]point, error) {
	limits, err := threeLimits()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(context.Background(), enough)
	defer stop()
	filled := 0
	var points []point
	for _, size := range sizes {
		if err := fillKeys(ctx, d, limits, filled, size); errors.Is(err, context.DeadlineExceeded) {
			return points, nil
		} else if err != nil {
			return points, err
		}
		filled = size
		i := 0
		p, err := timePoint(size, together, func() error {
			batch := make([]driver.Request, together)
			for j := range batch {
				i++
				batch[j] = request(fmt.Sprintf("model-%07d", next(0, i, size)), limits, 1, 100)
			}
			_, err := d.Apply(context.Background(), batch)
			return err
		})
		if err != nil {
			return points, err
		}
		points = append(points, p)
	}
	return points, nil
}

// fillKeys makes the keys from one number up to before another, on a few connections at once.
func fillKeys(ctx context.Context, d driver.Driver, limits *bucket.Limits, from, to int) error {
	const workers, most = 4, 1000
	errs := make([]error, workers)
	var crew sync.WaitGroup
	for w := range workers {
		crew.Go(func() {
			for at := from + w*most; at < to && errs[w] == nil; at += workers * most {
				batch := make([]driver.Request, 0, most)
				for i := at; i < min(at+most, to); i++ {
					batch = append(batch, request(fmt.Sprintf("model-%07d", i), limits, inUse, inUse))
				}
				_, errs[w] = d.Apply(ctx, batch)
			}
		})
	}
	crew.Wait()
	return errors.Join(errs...)
}

// timePoint takes the median time of do, over the operations that it does at once.
func timePoint(n, operations int, do func() error) (point, error) {
	var times []float64
	for start := time.Now(); len(times) < 7 || time.Since(start) < 500*time.Millisecond; {
		t := time.Now()
		if err := do(); err != nil {
			return point{}, err
		}
		times = append(times, float64(time.Since(t).Nanoseconds())/float64(operations))
	}
	return point{n, median(times)}, nil
}

// growBuckets gives a key ever more quotas, each of a resource of its own.
func growBuckets(d driver.Driver, sizes []int) ([]point, error) {
	ctx := context.Background()
	var points []point
	for _, size := range sizes {
		quotas, cost := make([]bucket.Quota, size), make([]float64, size)
		for i := range quotas {
			quotas[i] = bucket.Quota{Resource: fmt.Sprintf("resource-%02d", i), Limit: requestsPerMinute, Per: bucket.Minute, Burst: requestBurst}
			cost[i] = 1
		}
		limits, err := bucket.NewLimits(quotas...)
		if err != nil {
			return points, err
		}
		key := fmt.Sprintf("buckets-%d", size)
		p, err := timePoint(size, together, func() error {
			batch := make([]driver.Request, together)
			for j := range batch {
				batch[j] = request(key, limits, cost...)
			}
			_, err := d.Apply(ctx, batch)
			return err
		})
		if err != nil {
			return points, err
		}
		points = append(points, p)
	}
	return points, nil
}

// growWaiters lets ever more calls wait for a paused family and measures how long all of them take to be granted once it
// goes on.
func growWaiters(d driver.Driver, sizes []int) ([]point, error) {
	var points []point
	for _, size := range sizes {
		var times []float64
		for range 5 {
			took, err := grantAll(d, fmt.Sprintf("waiters-%d", size), size)
			if err != nil {
				return points, err
			}
			times = append(times, float64(took.Nanoseconds())/float64(size))
		}
		points = append(points, point{size, median(times)})
	}
	return points, nil
}

func grantAll(d driver.Driver, model string, n int) (time.Duration, error) {
	l := throttle.New(d, quotas())
	defer l.Close()
	ctx := context.Background()
	if err := l.Pause(ctx, model, time.Hour); err != nil {
		return 0, err
	}
	errs := make([]error, n)
	var crowd sync.WaitGroup
	for i := range n {
		crowd.Go(func() { _, errs[i] = l.Acquire(ctx, model, throttle.Usage{"requests": 1}) })
	}
	for waiting := 0; waiting < n; {
		time.Sleep(5 * time.Millisecond)
		s, err := l.Status(ctx, model)
		if err != nil {
			return 0, err
		}
		waiting = s.Waiting
	}
	start := time.Now()
	if err := l.Pause(ctx, model, 0); err != nil {
		return 0, err
	}
	crowd.Wait()
	return time.Since(start), errors.Join(errs...)
}

// growProcesses puts ever more processes into a key's line and measures their polls.
func growProcesses(d driver.Driver, sizes []int) ([]point, error) {
	ctx := context.Background()
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "requests", Limit: 1, Per: bucket.Day, Burst: 1000})
	if err != nil {
		return nil, err
	}
	var points []point
	for _, size := range sizes {
		key := fmt.Sprintf("line-%d", size)
		if _, err := d.Apply(ctx, []driver.Request{request(key, limits, 1000)}); err != nil {
			return points, err
		}
		poll := func(process int) error {
			name := fmt.Sprintf("process-%d", process)
			_, err := d.Apply(ctx, []driver.Request{{Key: key, Limits: limits, Ops: []bucket.Op{{
				Kind: bucket.Acquire, Cost: []float64{1}, Place: name, Flow: name, Poll: bucket.Minute, Grace: bucket.Hour,
			}}}})
			return err
		}
		for process := range size {
			if err := poll(process); err != nil {
				return points, err
			}
		}
		process := 0
		p, err := timePoint(size, 1, func() error {
			process++
			return poll(process % size)
		})
		if err != nil {
			return points, err
		}
		points = append(points, p)
	}
	return points, nil
}

// ends are the points that a curve is judged by: the middle one and the last. What is smaller tells little: the requests
// of a batch then share one key, one page, one packet.
func (c curve) ends() (first, last point) {
	return c.Points[len(c.Points)/2], c.Points[len(c.Points)-1]
}

// growth says how much dearer an operation got from one end to the other, and how much it may: where one operation gets
// dearer by no more than the logarithm of n, all n together are within n log n. An operation on n buckets does the work
// of n by itself.
func (c curve) growth() (times, allowed float64) {
	first, last := c.ends()
	n := float64(last.N) / float64(first.N)
	allowed = 1 + math.Log2(n)
	if c.Dimension == bucketsDimension {
		allowed *= n
	}
	return last.NS / first.NS, allowed
}

const bucketsDimension = "buckets"

func (c curve) verdict() string {
	times, allowed := c.growth()
	if times <= allowed {
		return "within n log n"
	}
	return "MORE than n log n"
}

func writeCurves(w io.Writer, curves []curve) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "grows\tdriver\tfrom\tto\tan operation\tallowed\t")
	for _, c := range curves {
		first, last := c.ends()
		times, allowed := c.growth()
		fmt.Fprintf(t, "%s\t%s\t%d: %s\t%d: %s\t× %.2f\t× %.1f\t%s\n", c.Dimension, c.Driver,
			first.N, duration(first.NS), last.N, duration(last.NS), times, allowed, c.verdict())
	}
	return t.Flush()
}
