package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/driver"
)

// Notifying is a [Driver] that also is a [driver.Notifier]: one who waits hears at once when another process gives
// something back, instead of at the next poll. All programs that share the table should use it, or what the others give
// back is found by polling.
//
// It tells by NOTIFY in a transaction apart, after the one that made room: NOTIFY locks out every other NOTIFY of the
// whole server until its transaction is committed, which takes microseconds for one that writes nothing and a write to
// disk for one that does. It tells only of places in line, so keys that nobody waits for cost nothing.
//
// Each [Notifying.Notify] takes a connection of its own, besides the pool's.
type Notifying struct {
	*Driver
	listen  *pgx.ConnConfig
	channel string

	mu     sync.Mutex
	queued map[readyPlace]bool
	wake   chan struct{} // has room for one
}

// readyPlace is a place in a key's line that would be granted.
type readyPlace struct{ key, place string }

const (
	// maxQueued bounds what waits to be told; more is dropped, and found by polling.
	maxQueued = 1024
	// maxPayload is less than the 8000 bytes that Postgres allows.
	maxPayload = 7900
	// listenCheck is how often a listener on which nothing arrives looks whether its connection still works.
	listenCheck = 30 * time.Second
	// listenAgain is the longest wait before a lost connection is made again.
	listenAgain = 5 * time.Second
)

// ErrPooled is what [Notifying.Notify] met: it is connected to a pooler, which would deliver nothing. It is wrapped in
// a [*driver.StoreError].
var ErrPooled = errors.New("connected to a pooler")

// NewNotifying is [New] for a driver that notifies.
func NewNotifying(ctx context.Context, pool *pgxpool.Pool, options *Options) (*Notifying, error) {
	d, err := New(ctx, pool, options)
	if err != nil {
		return nil, err
	}
	n := &Notifying{Driver: d, listen: d.options.Listen, channel: channelOf(&d.options), queued: map[readyPlace]bool{}, wake: make(chan struct{}, 1)}
	if n.listen == nil {
		n.listen = pool.Config().ConnConfig
	}
	d.tell = n.queue
	d.running.Go(n.tellForever)
	return n, nil
}

// channelOf is the channel of a table.
func channelOf(o *Options) string {
	channel := "throttle " + o.Schema + "." + o.Table
	if len(channel) > maxIdentifier {
		hash := sha256.Sum256([]byte(o.qualified()))
		channel = "throttle " + hex.EncodeToString(hash[:16])
	}
	return channel
}

// queue hands places to tellForever.
func (n *Notifying) queue(places []readyPlace) {
	n.mu.Lock()
	for _, p := range places {
		if len(n.queued) < maxQueued {
			n.queued[p] = true
		}
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// tellForever tells of queued places, all in one transaction; what comes meanwhile goes with the next.
func (n *Notifying) tellForever() {
	for {
		select {
		case <-n.wake:
		case <-n.background.Done():
			return
		}
		n.mu.Lock()
		var payloads []string
		for p := range n.queued {
			// A place contains no control character.
			if text := p.place + "\n" + escapeKey(p.key); len(text) <= maxPayload {
				payloads = append(payloads, text)
			}
		}
		clear(n.queued)
		n.mu.Unlock()
		ctx, cancel := context.WithTimeout(n.background, n.options.Timeout)
		// An error means that a call is missed, which may be.
		_, _ = n.pool.Exec(ctx, "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", pgx.QueryExecModeExec, n.channel, payloads)
		cancel()
	}
}

// Notify implements [driver.Notifier]. Its errors are a [*driver.StoreError], [driver.ErrClosed] or ctx's. A connection
// that is lost is made again.
func (n *Notifying) Notify(ctx context.Context, ready func(key, place string)) (stop func(), err error) {
	if !n.enter() {
		return nil, driver.ErrClosed
	}
	conn, err := n.subscribe(ctx)
	if err != nil {
		n.leave()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, n.options.storeError("listen", err)
	}
	listening, cancel := context.WithCancel(n.background)
	done := make(chan struct{})
	go func() {
		defer n.leave()
		defer close(done)
		n.hear(listening, conn, ready)
	}()
	return func() {
		cancel()
		<-done
	}, nil
}

// subscribe connects and listens.
func (n *Notifying) subscribe(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, n.options.Timeout, errTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, n.listen.Copy())
	if err != nil {
		return nil, err
	}
	direct, err := isDirect(ctx, conn.PgConn())
	if err == nil && !direct {
		err = ErrPooled
	}
	if err == nil {
		_, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{n.channel}.Sanitize())
	}
	if err != nil {
		hangUp(conn)
		return nil, err
	}
	return conn, nil
}

// hangUp closes a connection that may not answer any more.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn.Close(ctx)
}

// hear calls ready for what arrives, until ctx ends.
func (n *Notifying) hear(ctx context.Context, conn *pgx.Conn, ready func(key, place string)) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		if conn != nil {
			n.hearOn(ctx, conn, ready)
			hangUp(conn)
			attempt = 0
		}
		wait(ctx, attempt, 10*time.Millisecond, listenAgain)
		conn, _ = n.subscribe(ctx) // nil if it failed
	}
	if conn != nil {
		hangUp(conn)
	}
}

// hearOn is hear for as long as one connection works.
func (n *Notifying) hearOn(ctx context.Context, conn *pgx.Conn, ready func(key, place string)) {
	for ctx.Err() == nil {
		quiet, cancel := context.WithTimeout(ctx, listenCheck)
		got, err := conn.WaitForNotification(quiet)
		cancel()
		if err == nil {
			if place, stored, ok := strings.Cut(got.Payload, "\n"); ok {
				if key, ok := unescapeKey(stored); ok {
					ready(key, place)
				}
			}
			continue
		}
		if ctx.Err() != nil || conn.IsClosed() {
			return
		}
		check, cancel := context.WithTimeout(ctx, n.options.Timeout)
		err = conn.Ping(check)
		cancel()
		if err != nil {
			return
		}
	}
}
