//go:build unix

// Package filedriver keeps limits in one JSON file that the processes of a machine share: a whole driver for throttle.
package filedriver

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// Driver is a [driver.Driver] over the file at Path, which need not exist yet. Beside it lies a file to lock.
type Driver struct {
	Path   string
	under  sync.RWMutex // held for reading while an Apply is under way
	closed bool
}

// Apply implements [driver.Driver]: it locks, reads, applies and writes.
func (d *Driver) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	d.under.RLock()
	defer d.under.RUnlock()
	if d.closed {
		return nil, driver.ErrClosed
	}
	lock, err := os.OpenFile(d.Path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // and so unlocks
	for syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	states := map[string]string{} // by key in ASCII: JSON would mangle what is not UTF-8
	text, err := os.ReadFile(d.Path)
	if errors.Is(err, os.ErrNotExist) {
		text, err = []byte("{}"), nil
	}
	if err = errors.Join(err, json.Unmarshal(text, &states), ctx.Err(), driver.Check(batch)); err != nil {
		return nil, err
	}
	responses, now := make([]driver.Response, len(batch)), bucket.At(time.Now()) // one clock: they are on one machine
	for i, r := range batch {
		s, key := bucket.State{}, strconv.QuoteToASCII(r.Key)
		if states[key] != "" && s.Decode([]byte(states[key])) != nil {
			return nil, errors.New("filedriver: unreadable state in " + d.Path)
		}
		res := driver.Response{Now: now, Results: make([]bucket.Result, len(r.Ops)), Absent: states[key] == ""}
		s.Apply(now, &bucket.Request{Limits: r.Limits, Ops: r.Ops}, res.Results)
		res.AbsentAt, res.Waiting = s.AbsentAt(), len(s.Line)
		responses[i], states[key] = res, string(s.Encode(nil))
		if s.Absent(now) {
			delete(states, key)
		}
	}
	if text, err = json.Marshal(states); err == nil {
		err = os.WriteFile(d.Path+".new", text, 0o600) // should this fail, the old file is still there
	}
	if err != nil {
		return nil, err
	}
	return responses, os.Rename(d.Path+".new", d.Path)
}

// Close implements [driver.Driver].
func (d *Driver) Close() error {
	d.under.Lock()
	defer d.under.Unlock()
	d.closed = true
	return nil
}
