package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// The benchmark compares the limiter with what one would write without it: a SERIALIZABLE transaction for each
// operation, repeated until it succeeds. Both keep the same state and use the same arithmetic. An operation is an
// acquire that is granted. The ways take turns, a fifth of a second each, so that all have the same share of whatever
// else the machine does; the quartile of their best turns is told.
//
//	go test ./internal/verify/postgres -run xxx -bench Ways -benchtime 40x

var wide = []throttle.Quota{
	throttle.PerMinute("requests", 1e9), throttle.PerMinute("tokens", 1e12), throttle.PerDay("requests", 1e12),
}

var wideLimits = func() *bucket.Limits {
	l, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 1e9, Per: bucket.Minute}, bucket.Quota{Resource: "tokens", Limit: 1e12, Per: bucket.Minute},
		bucket.Quota{Resource: "requests", Limit: 1e12, Per: bucket.Day})
	if err != nil {
		panic(err)
	}
	return l
}()

// way is a way of doing operations.
type way struct {
	name       string
	goroutines int
	operation  func(goroutine int) error
	stats      func() (batches, retries uint64)

	turns      []time.Duration // an operation, of each turn
	ops        int
	batches    uint64
	retries    uint64
	wasB, wasR uint64
}

const turn = 200 * time.Millisecond

// take takes the way's turn.
func (w *way) take(tb testing.TB) {
	w.wasB, w.wasR = w.stats()
	start := time.Now()
	var done atomic.Int64
	var all sync.WaitGroup
	for g := range w.goroutines {
		all.Go(func() {
			for time.Since(start) < turn {
				if err := w.operation(g); err != nil {
					tb.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	batches, retries := w.stats()
	w.turns = append(w.turns, time.Since(start)/time.Duration(max(1, done.Load())))
	w.ops += int(done.Load())
	w.batches += batches - w.wasB
	w.retries += retries - w.wasR
}

// best is the quartile of the best turns.
func (w *way) best() time.Duration {
	slices.Sort(w.turns)
	return w.turns[len(w.turns)/4]
}

func BenchmarkWays(b *testing.B) {
	server := testservice.StartPostgres(b, "-c", "max_connections=250") // nobody else works it
	hot, many := newTableAt(b, server.URL, postgres.Options{}), newTableAt(b, server.URL, postgres.Options{})
	hotNames, manyNames := names(hot, 1), names(many, 1000)
	ways := []*way{
		naiveWay("hot/naive/64", hot, hotNames, 64),
		limiterWay("hot/limiter/1x64", hot, hotNames, 1, 64),
		limiterWay("hot/limiter/2x32", hot, hotNames, 2, 32),
		limiterWay("hot/limiter/8x8", hot, hotNames, 8, 8),
		naiveWay("hot/naive/1", hot, hotNames, 1),
		limiterWay("hot/limiter/1x1", hot, hotNames, 1, 1),
		naiveWay("1000 keys/naive/64", many, manyNames, 64),
		limiterWay("1000 keys/limiter/1x64", many, manyNames, 1, 64),
		limiterWay("1000 keys/limiter/2x32", many, manyNames, 2, 32),
	}
	for _, w := range ways {
		w.take(b) // connects and prepares
		w.turns, w.ops, w.batches, w.retries = nil, 0, 0, 0
	}
	b.ResetTimer()
	for range b.N {
		for _, w := range ways {
			w.take(b)
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, w := range ways {
		naive := ways[[...]int{0, 0, 0, 0, 4, 4, 6, 6, 6}[i]].best()
		text := fmt.Sprintf("%-24s %10v an operation, %.4f of naive, %.3f retries an operation", w.name, w.best(), float64(w.best())/float64(naive), float64(w.retries)/float64(w.ops))
		if w.batches > 0 {
			text += fmt.Sprintf(", %.1f operations a batch, %v a batch", float64(w.ops)/float64(w.batches), w.best()*time.Duration(w.ops)/time.Duration(w.batches))
		}
		b.Log(text)
	}
}

// names are the keys, which are all there before the clock starts.
func names(tab *table, n int) []string {
	list := make([]string, n)
	batch := make([]driver.Request, n)
	for i := range list {
		list[i] = fmt.Sprint("key-", i)
		batch[i] = driver.Request{Key: list[i], Limits: wideLimits, Ops: ops(record(1, 100))}
	}
	if _, err := tab.open(nil).Apply(context.Background(), batch); err != nil {
		tab.tb.Fatal(err)
	}
	tab.exec("VACUUM ANALYZE TABLE0")
	return list
}

// limiterWay has several limiters over drivers and pools of their own, as processes would, each with so many callers.
func limiterWay(name string, tab *table, keys []string, limiters, callers int) *way {
	drivers, lims := make([]*postgres.Driver, limiters), make([]*throttle.Limiter, limiters)
	for i := range drivers {
		drivers[i] = tab.open(nil)
		lims[i] = throttle.New(drivers[i], throttle.Static(wide...))
		tab.tb.Cleanup(func() { lims[i].Close() })
	}
	return &way{
		name: name, goroutines: limiters * callers,
		operation: func(g int) error {
			_, err := lims[g%limiters].Acquire(context.Background(), keys[rand.IntN(len(keys))], throttle.Usage{"requests": 1, "tokens": 100})
			return err
		},
		stats: func() (batches, retries uint64) {
			for _, d := range drivers {
				s := d.Stats()
				batches += s.Batches
				retries += s.Conflicts
			}
			return batches, retries
		},
	}
}

func naiveWay(name string, tab *table, keys []string, callers int) *way {
	pool := tab.pool(func(c *pgxpool.Config) { c.MaxConns = int32(callers) })
	var retries atomic.Uint64
	return &way{
		name: name, goroutines: callers,
		operation: func(int) error {
			key := keys[rand.IntN(len(keys))]
			for {
				err := naive(context.Background(), tab, pool, key)
				var pg *pgconn.PgError
				if !errors.As(err, &pg) || (pg.Code != "40001" && pg.Code != "40P01") {
					return err
				}
				retries.Add(1)
			}
		},
		stats: func() (uint64, uint64) { return 0, retries.Load() },
	}
}

// naive is one acquire as one would write it.
func naive(ctx context.Context, tab *table, pool *pgxpool.Pool, key string) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		var text []byte
		var now time.Time
		err := tx.QueryRow(ctx, tab.sql("SELECT state, clock_timestamp() FROM TABLE0 WHERE key = $1"), key).Scan(&text, &now)
		if err != nil {
			return err
		}
		var state bucket.State
		if err := state.Decode(text); err != nil {
			return err
		}
		state.Apply(bucket.At(now), &bucket.Request{Limits: wideLimits, Ops: ops(acquire(1, 100))}, make([]bucket.Result, 1))
		_, err = tx.Exec(ctx, tab.sql("UPDATE TABLE0 SET state = $2 WHERE key = $1"), key, state.Encode(nil))
		return err
	})
}
