package throttlehttp

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/watch"
)

// Options configures a page; nil and the zero value mean the defaults, and so does a number below 0.
type Options struct {
	// Title is shown in the heading, to tell one page from another: a service, a host.
	Title string
	// Models are models whose families are shown from the start. The families of other models are shown once they are
	// used. [StoreHandler] takes families instead.
	Models []string
	// ListedOnly shows the families of Models alone.
	ListedOnly bool
	// MaxFamilies bounds how many families are shown, in order of name; 100 by default.
	MaxFamilies int
	// MaxViewers bounds how many may have the page open; 32 by default. Others get status 503.
	MaxViewers int
	// Interval is how often the page is brought up to date; one second by default, at least 100 ms.
	Interval time.Duration
	// History is how far back the plots go; five minutes by default, at most half an hour.
	History time.Duration
}

func (o *Options) orDefault() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.MaxFamilies <= 0 {
		out.MaxFamilies = 100
	}
	if out.MaxViewers <= 0 {
		out.MaxViewers = 32
	}
	if out.Interval <= 0 {
		out.Interval = time.Second
	}
	if out.History <= 0 {
		out.History = 5 * time.Minute
	}
	out.Interval = max(100*time.Millisecond, out.Interval)
	out.History = min(30*time.Minute, max(10*out.Interval, out.History))
	return out
}

// Page is an [http.Handler] that serves the page. Its methods are safe for concurrent use.
type Page struct {
	watcher *watch.Watcher
	title   string
	store   bool // it shows a store, of which no process's own calls are known
	started int64
}

// Handler returns the page of a limiter. From then on it notes what happens seldom (refusals, a store's errors), so that
// the page shows it to who comes later; for everything else it looks only while somebody watches. It panics if lim is nil.
func Handler(lim *throttle.Limiter, o *Options) *Page {
	if lim == nil {
		panic("throttlehttp: Handler needs a limiter")
	}
	opt := o.orDefault()
	source := watch.OfLimiter(lim, watch.Filter{Models: opt.Models, ListedOnly: opt.ListedOnly, Most: opt.MaxFamilies})
	return newPage(source, opt)
}

// StoreHandler returns the page of whatever families a store holds, which other processes use, or of those named in
// Options.Models. The error is a [*throttle.ArgumentError]: there is no store, or it can't list its families and none are
// named.
func StoreHandler(d driver.Driver, o *Options) (*Page, error) {
	if d == nil {
		return nil, &throttle.ArgumentError{Argument: "driver", Want: "a driver, such as memory.New()"}
	}
	opt := o.orDefault()
	source, err := watch.OfStore(d, opt.Models, opt.MaxFamilies)
	if err != nil {
		return nil, &throttle.ArgumentError{Argument: "Options.Models", Value: opt.Models, Want: "names of families: the store can't list those it holds"}
	}
	p := newPage(source, opt)
	p.store = true
	return p, nil
}

func newPage(source watch.Source, opt Options) *Page {
	return &Page{
		watcher: watch.New(source, watch.Options{Every: opt.Interval, Keep: opt.History, MaxViewers: opt.MaxViewers}),
		title:   opt.Title,
		started: time.Now().UnixMicro(),
	}
}

// Close ends all streams, and the page's own watching of the limiter. Closing twice is no error.
func (p *Page) Close() { p.watcher.Close() }

// ServeHTTP implements [http.Handler].
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	query := r.URL.Query()
	data := query.Has("events") || query.Has("json")
	if site := r.Header.Get("Sec-Fetch-Site"); data && (site == "cross-site" || site == "same-site") {
		http.Error(w, "not for other sites", http.StatusForbidden)
		return
	}
	switch {
	case query.Has("events"):
		p.stream(w, r)
	case query.Has("json"):
		p.once(w, r)
	default:
		h.Set("Content-Type", "text/html; charset=utf-8")
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, document)
		}
	}
}

// view begins to watch for a request, or refuses it.
func (p *Page) view(w http.ResponseWriter) *watch.View {
	v := p.watcher.View()
	if v == nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many viewers, or closed", http.StatusServiceUnavailable)
	}
	return v
}

// once answers with one snapshot.
func (p *Page) once(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return
	}
	v := p.view(w)
	if v == nil {
		return
	}
	defer v.Close()
	update, ok := v.Next(r.Context())
	if !ok {
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(struct {
		*watch.Snapshot
		Events []watch.Event `json:"events"`
	}{update.Snapshot, update.Events})
}
