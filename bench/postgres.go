package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/driver/postgres"
)

// place is where one side keeps its rows: a schema of its own in our server.
type place struct {
	URL, Schema string
}

// newPlace makes a schema. free drops it.
func newPlace() (p place, free func(), err error) {
	server, err := postgresServer.url()
	if err != nil {
		return p, nil, err
	}
	p = place{server, "bench_" + strings.ToLower(rand.Text())}
	if err := p.exec("CREATE SCHEMA " + p.Schema); err != nil {
		return p, nil, err
	}
	return p, func() { warn(p.exec("DROP SCHEMA " + p.Schema + " CASCADE")) }, nil
}

func (p place) exec(sql string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, p.URL)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, sql)
	return err
}

// pool connects with so many connections, in the place's schema.
func (p place) pool(connections int) (*pgxpool.Pool, error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	q.Set("pool_max_conns", strconv.Itoa(connections))
	q.Set("search_path", p.Schema)
	u.RawQuery = q.Encode()
	return pgxpool.New(context.Background(), u.String())
}

// ourConnections is the size of our pool: one connection sends a limiter's batches, one prunes.
const ourConnections = 4

// postgresOurs opens the driver in a place. retried counts what conflicts made it repeat.
func (p place) ours(keys int) (s side, retried func() float64, err error) {
	ctx := context.Background()
	pool, err := p.pool(ourConnections)
	if err != nil {
		return s, nil, err
	}
	options := &postgres.Options{Schema: p.Schema}
	if err := postgres.Migrate(ctx, pool, options); err != nil {
		return s, nil, err
	}
	d, err := postgres.New(ctx, pool, options)
	if err != nil {
		return s, nil, err
	}
	s = limiter(d, keys, true)
	closeSide := s.close
	s.close = func() { closeSide(); pool.Close() }
	return s, func() float64 { return float64(d.Stats().Conflicts) }, nil
}

// naiveTable makes the table of the naive side, with a row for each key.
func (p place) naiveTable(keys int) error {
	sql := fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s.naive (key text PRIMARY KEY, at bigint NOT NULL,
		requests float8 NOT NULL, tokens float8 NOT NULL, daily float8 NOT NULL)`, p.Schema)
	if err := p.exec(sql); err != nil {
		return err
	}
	l := newLevels()
	return p.exec(fmt.Sprintf(`INSERT INTO %s.naive SELECT 'model-' || lpad(i::text, 6, '0'), %d, %g, %g, %g
		FROM generate_series(0, %d) i ON CONFLICT DO NOTHING`, p.Schema, l.at, l.requests, l.tokens, l.daily, keys-1))
}

// naive is what a user writes by hand: BEGIN SERIALIZABLE, SELECT, decide, UPDATE, COMMIT, again where that failed for
// others. One transaction acquires, another settles.
func (p place) naive(keys, connections int, name string) (s side, retried func() float64, err error) {
	if err := p.naiveTable(keys); err != nil {
		return s, nil, err
	}
	pool, err := p.pool(connections)
	if err != nil {
		return s, nil, err
	}
	ctx, models := context.Background(), names(keys)
	var retries atomic.Uint64
	apply := func(model string, requests, tokens float64) error {
		for {
			err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
				var l levels
				row := tx.QueryRow(ctx, "SELECT at, requests, tokens, daily FROM naive WHERE key = $1", model)
				if err := row.Scan(&l.at, &l.requests, &l.tokens, &l.daily); err != nil {
					return err
				}
				if !l.take(time.Now(), requests, tokens) {
					return errRefused
				}
				_, err := tx.Exec(ctx, "UPDATE naive SET at = $2, requests = $3, tokens = $4, daily = $5 WHERE key = $1",
					model, l.at, l.requests, l.tokens, l.daily)
				return err
			})
			var failed *pgconn.PgError
			if errors.As(err, &failed) && (failed.Code == "40001" || failed.Code == "40P01") {
				retries.Add(1)
				continue
			}
			return err
		}
	}
	return side{
		name: name,
		run: func(g, n int) error {
			for i := range n {
				model := models[next(g, i, keys)]
				if err := apply(model, 1, reservedTokens); err != nil {
					return err
				}
				if err := apply(model, 0, usedTokens-reservedTokens); err != nil {
					return err
				}
			}
			return nil
		},
		close: pool.Close,
	}, func() float64 { return float64(retries.Load()) }, nil
}

// bare is the floor: a SELECT and an UPDATE, each a transaction by itself, for the acquire, and again for the settlement.
func (p place) bare(keys, connections int) (side, error) {
	if err := p.naiveTable(keys); err != nil {
		return side{}, err
	}
	pool, err := p.pool(connections)
	if err != nil {
		return side{}, err
	}
	ctx, models := context.Background(), names(keys)
	return side{
		name: "a bare SELECT and UPDATE",
		run: func(g, n int) error {
			for i := range 2 * n {
				model := models[next(g, i, keys)]
				var level float64
				if err := pool.QueryRow(ctx, "SELECT tokens FROM naive WHERE key = $1", model).Scan(&level); err != nil {
					return err
				}
				if _, err := pool.Exec(ctx, "UPDATE naive SET tokens = tokens - 1 WHERE key = $1", model); err != nil {
					return err
				}
			}
			return nil
		},
		close: pool.Close,
	}, nil
}

// inPlace gives a side a schema of its own.
func inPlace(make func(place) (side, error)) func() (side, error) {
	return func() (side, error) {
		p, free, err := newPlace()
		if err != nil {
			return side{}, err
		}
		s, err := make(p)
		if err != nil {
			free()
			return s, err
		}
		closeSide := s.close
		s.close = func() { closeSide(); free() }
		return s, nil
	}
}

// tally counts a side's operations and what conflicts made it repeat, its first turns included.
type tally struct {
	operations atomic.Uint64
	retried    func() float64
}

func (t *tally) counting(s side, retried func() float64, err error) (side, error) {
	t.retried = retried
	run := s.run
	s.run = func(g, n int) error {
		t.operations.Add(uint64(n))
		return run(g, n)
	}
	return s, err
}

func (t *tally) perOperation() *float64 {
	v := t.retried() / float64(max(1, t.operations.Load()))
	return &v
}

func postgresContests() []contest {
	list := []contest{
		{name: "postgres-hot-64", goroutines: 64, keys: 1, goal: 0.01, budget: 400 * time.Millisecond, rounds: 7},
		{name: "postgres-1k-64", goroutines: 64, keys: 1_000, goal: 0.15, budget: 400 * time.Millisecond, rounds: 7},
		{name: "postgres-hot-1", goroutines: 1, keys: 1, goal: 1, budget: 200 * time.Millisecond},
	}
	for i := range list {
		c := &list[i]
		ours, naive := new(tally), new(tally)
		c.ours = inPlace(func(p place) (side, error) { return ours.counting(p.ours(c.keys)) })
		c.other = inPlace(func(p place) (side, error) {
			return naive.counting(p.naive(c.keys, c.goroutines, "SERIALIZABLE by hand, a connection each"))
		})
		c.floorSide = inPlace(func(p place) (side, error) { return p.bare(c.keys, c.goroutines) })
		if c.goroutines > 1 {
			c.peers = []func() (side, error){inPlace(func(p place) (side, error) {
				s, _, err := p.naive(c.keys, 8, "SERIALIZABLE by hand, a pool of 8")
				return s, err
			})}
		}
		c.extra = func(r *row, _ side) error {
			r.Retries, r.OtherRetries = ours.perOperation(), naive.perOperation()
			return nil
		}
	}
	two := contest{
		name: "postgres-hot-64-two", goroutines: 64, keys: 1, goal: 0.03, budget: 400 * time.Millisecond, rounds: 7,
		ours:  inPlace(func(p place) (side, error) { return twoProcesses(childOurs, p, 64) }),
		other: inPlace(func(p place) (side, error) { return twoProcesses(childNaive, p, 64) }),
	}
	return append(list[:1], append([]contest{two}, list[1:]...)...)
}
