package throttlehttp

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/tokenthrottle/throttle/internal/watch"
)

// writeTimeout is how long a viewer may take to read what it is sent before it is given up.
const writeTimeout = 10 * time.Second

// hello is the first message of a stream: what every later one takes for granted, and the history.
type hello struct {
	Title    string          `json:"title"`
	Store    bool            `json:"store"`
	Started  int64           `json:"started"`  // tells one page's events from those of the next process
	Interval int64           `json:"interval"` // in ms
	Keep     int64           `json:"keep"`     // of history, in ms
	History  []history       `json:"history"`
	First    *watch.Snapshot `json:"first"`
	Events   []watch.Event   `json:"events"`
}

// history is one quota's points: [ms since 1970, level as a part of the burst, use as a part of the limit or -1 if it
// couldn't be seen].
type history struct {
	Family   string       `json:"family"`
	Resource string       `json:"resource"`
	Per      string       `json:"per"`
	Points   [][3]float64 `json:"points"`
}

// change is a later message.
type change struct {
	*watch.Snapshot
	Events []watch.Event `json:"events"`
}

// stream sends a viewer what there is to see until it goes.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy that buffers would show nothing
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	v := p.view(w)
	if v == nil {
		return
	}
	defer v.Close()
	send := func(event string, data any) bool {
		text, err := json.Marshal(data)
		if err != nil {
			return false
		}
		// A server that can't set deadlines has its own, or none; it need not keep anybody from looking.
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	update, ok := v.Next(r.Context())
	if !ok || !send("hello", p.hello(update)) {
		return
	}
	for {
		if update, ok = v.Next(r.Context()); !ok || !send("change", change{update.Snapshot, update.Events}) {
			return
		}
	}
}

func (p *Page) hello(u watch.Update) hello {
	out := hello{
		Title: p.title, Store: p.store, Started: p.started, Interval: p.watcher.Every().Milliseconds(), Keep: p.watcher.Keep().Milliseconds(),
		History: []history{}, First: u.Snapshot, Events: u.Events,
	}
	for _, f := range u.Snapshot.Families {
		for _, q := range f.Quotas {
			past := history{Family: f.Name, Resource: q.Resource, Per: q.Per, Points: [][3]float64{}}
			for _, point := range p.watcher.History(f.Name, q.Resource, q.Per) {
				past.Points = append(past.Points, [3]float64{float64(point.At.UnixMilli()), brief(point.Level), brief(point.Use)})
			}
			out.History = append(out.History, past)
		}
	}
	return out
}

// brief keeps as much of a number as a plot shows.
func brief(x float64) float64 {
	if math.IsNaN(x) {
		return -1
	}
	return math.Round(x*1000) / 1000
}
