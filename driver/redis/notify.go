package redis

import (
	"context"
	"encoding/binary"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/driver"
)

// watch is one subscription.
type watch struct {
	d       *Driver
	channel *redis.PubSub
	ended   chan struct{} // closed when no call is under way nor will be
	once    sync.Once
}

// Notify implements [driver.Notifier] with PUBLISH and SUBSCRIBE: the script publishes on one channel, named as the
// prefix and "ready", only where a key's line isn't empty and something was freed. In a cluster Redis hands messages on to
// every node. A subscription that breaks is made anew; what was published meanwhile is missed.
func (d *Driver) Notify(ctx context.Context, ready func(key, place string)) (stop func(), err error) {
	if !d.begin() {
		return nil, driver.ErrClosed
	}
	defer d.running.Done()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	w := &watch{d: d, channel: d.client.Subscribe(either, d.prefix+"ready"), ended: make(chan struct{})}
	// The client waits for the answer however long it takes, unless the connection is closed.
	stop = func() { w.channel.Close() }
	listens := context.AfterFunc(either, stop)
	if _, err := w.channel.Receive(either); err != nil || !listens() {
		w.channel.Close()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case d.ending.Err() != nil:
			return nil, driver.ErrClosed
		}
		return nil, &driver.StoreError{Driver: "redis", Doing: "subscribe", Remedy: diagnose(err).remedy, Err: err}
	}
	messages := w.channel.Channel(redis.WithChannelSize(1000))
	go func() {
		defer close(w.ended)
		for m := range messages {
			if key, place, ok := d.parseReady(m.Payload); ok {
				ready(key, place)
			}
		}
	}()
	d.mu.Lock()
	closed := d.closed
	if !closed {
		d.watches[w] = struct{}{}
	}
	d.mu.Unlock()
	if closed {
		w.stop()
		return nil, driver.ErrClosed
	}
	return w.stop, nil
}

// stop ends the subscription and waits for a call under way.
func (w *watch) stop() {
	w.once.Do(func() {
		w.channel.Close() // its error says that the connection was gone already
		w.d.mu.Lock()
		delete(w.d.watches, w)
		w.d.mu.Unlock()
	})
	<-w.ended
}

// parseReady takes a message apart: the key in Redis, with its length before it, and the place.
func (d *Driver) parseReady(payload string) (key, place string, ok bool) {
	if len(payload) < 2 {
		return "", "", false
	}
	size := int(binary.LittleEndian.Uint16([]byte(payload[:2])))
	if len(payload) < 2+size {
		return "", "", false
	}
	key, ok = strings.CutPrefix(payload[2:2+size], d.prefix+"{")
	if !ok || !strings.HasSuffix(key, "}") {
		return "", "", false
	}
	return key[:len(key)-1], payload[2+size:], true
}
