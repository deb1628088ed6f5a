package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
)

// The benchmarks compare the limiter with what one would write without it: a SERIALIZABLE transaction for each
// operation, repeated until it succeeds. Both keep the same state and use the same arithmetic. An operation is an
// acquire that is granted.
//
//	go test ./internal/verify/postgres -run xxx -bench . -benchtime 2s

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

func BenchmarkHotKey(b *testing.B) {
	b.Run("naive/64", func(b *testing.B) { benchNaive(b, 64, 1) })
	b.Run("limiter/64", func(b *testing.B) { benchLimiter(b, 1, 64, 1) })
	b.Run("naive/1", func(b *testing.B) { benchNaive(b, 1, 1) })
	b.Run("limiter/1", func(b *testing.B) { benchLimiter(b, 1, 1, 1) })
	b.Run("limiter/2x32", func(b *testing.B) { benchLimiter(b, 2, 32, 1) })
	b.Run("limiter/8x8", func(b *testing.B) { benchLimiter(b, 8, 8, 1) })
}

func BenchmarkThousandKeys(b *testing.B) {
	b.Run("naive/64", func(b *testing.B) { benchNaive(b, 64, 1000) })
	b.Run("limiter/64", func(b *testing.B) { benchLimiter(b, 1, 64, 1000) })
	b.Run("limiter/2x32", func(b *testing.B) { benchLimiter(b, 2, 32, 1000) })
}

// spread runs b.N operations on goroutines.
func spread(b *testing.B, goroutines int, operation func(key int)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range goroutines {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				operation(rand.Int())
			}
		})
	}
	all.Wait()
	b.StopTimer()
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

// benchLimiter has several limiters over drivers and pools of their own, as processes would; 64 goroutines in all.
func benchLimiter(b *testing.B, limiters, goroutines, keys int) {
	tab := newTable(b)
	var drivers []*postgres.Driver
	var lims []*throttle.Limiter
	for range limiters {
		d := tab.open(nil)
		drivers = append(drivers, d)
		lims = append(lims, throttle.New(d, throttle.Static(wide...)))
	}
	list := names(tab, keys)
	ctx := context.Background()
	var next atomic.Int64
	spread(b, limiters*goroutines, func(key int) {
		lim := lims[int(next.Add(1))%limiters]
		if _, err := lim.Acquire(ctx, list[key%keys], throttle.Usage{"requests": 1, "tokens": 100}); err != nil {
			b.Error(err)
		}
	})
	var total postgres.Stats
	for i, d := range drivers {
		lims[i].Close()
		s := d.Stats()
		total.Batches += s.Batches
		total.Conflicts += s.Conflicts
	}
	b.ReportMetric(float64(b.N)/float64(total.Batches), "ops/batch")
	b.ReportMetric(float64(total.Conflicts)/float64(b.N), "retries/op")
}

func benchNaive(b *testing.B, goroutines, keys int) {
	tab := newTable(b)
	pool := tab.pool(func(c *pgxpool.Config) { c.MaxConns = int32(goroutines) })
	list := names(tab, keys)
	ctx := context.Background()
	var retries atomic.Int64
	spread(b, goroutines, func(key int) {
		for {
			err := naive(ctx, tab, pool, list[key%keys])
			if err == nil {
				return
			}
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || (pg.Code != "40001" && pg.Code != "40P01" && pg.Code != "23505") {
				b.Error(err)
				return
			}
			retries.Add(1)
		}
	})
	b.ReportMetric(float64(retries.Load())/float64(b.N), "retries/op")
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
