package check

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/storage"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	throttleprom "github.com/tokenthrottle/throttle/prometheus"
)

// interval is how often the registry is scraped and the rules are evaluated.
const interval = 30 * time.Second

// scrape is what the registry said at an instant, in the text format.
type scrape struct {
	at   time.Time
	text []byte
}

// farStore is the memory driver as a shared store: it is some way off, may fail, and may lose everything.
type farStore struct {
	inner   atomic.Pointer[driver.Driver]
	delay   atomic.Int64
	failing atomic.Bool
}

var errDown = errors.New("the store is down")

func newStore() *farStore {
	s := new(farStore)
	s.delay.Store(int64(3 * time.Millisecond))
	s.flush()
	return s
}

// flush forgets every state.
func (s *farStore) flush() {
	d := driver.Driver(memory.New())
	s.inner.Store(&d)
}

func (s *farStore) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if s.failing.Load() {
		return nil, errDown
	}
	time.Sleep(time.Duration(s.delay.Load()))
	return (*s.inner.Load()).Apply(ctx, batch)
}

func (s *farStore) Close() error { return nil }

// record lets a situation run, on a clock that costs no time, and scrapes it.
func record(t *testing.T, s situation) []scrape {
	t.Helper()
	var list []scrape
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		l := throttle.New(store, throttle.Static(s.quotas...))
		defer l.Close()
		reg := prometheus.NewRegistry()
		if err := throttleprom.Register(reg, l, &throttleprom.Options{Models: []string{"gpt-4.1"}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var working sync.WaitGroup
		working.Go(func() { s.work(ctx, l, store) })
		for range int(s.lasts / interval) {
			time.Sleep(interval)
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			for _, f := range families {
				if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
					t.Fatal(err)
				}
			}
			list = append(list, scrape{time.Now(), text.Bytes()})
		}
		cancel()
		working.Wait()
	})
	return list
}

// load appends a scrape to a database as Prometheus does: parsed, with the labels job and instance.
func (s scrape) load(t *testing.T, db storage.Appendable) {
	t.Helper()
	app := db.Appender(context.Background())
	parser := textparse.NewPromParser(s.text, labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var series labels.Labels
		parser.Labels(&series)
		_, _, value := parser.Series()
		series = labels.NewBuilder(series).Set("job", "api").Set("instance", "api-1:9090").Labels()
		if _, err := app.Append(0, series, s.at.UnixMilli(), value); err != nil {
			t.Fatalf("%v: %v", series, err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}
