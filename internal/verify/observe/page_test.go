package observe

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

// mounted is a limiter and its page.
type mounted struct {
	limiter *throttle.Limiter
	url     string
}

func mount(t *testing.T, path string, models ...string) mounted {
	t.Helper()
	l := throttle.New(memory.New(), throttle.Static(
		throttle.PerMinute("requests", 600), throttle.PerMinute("tokens", 6000), throttle.PerDay("tokens", 1e6)))
	page := throttlehttp.Handler(l, &throttlehttp.Options{Title: "a service", Models: models, Interval: 200 * time.Millisecond})
	mux := http.NewServeMux()
	mux.Handle(path, page)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		page.Close()
		server.Close()
		_ = l.Close()
	})
	return mounted{l, server.URL + path}
}

func (m mounted) reserve(t *testing.T, model string, tokens float64) *throttle.Reservation {
	t.Helper()
	r, err := m.limiter.Acquire(t.Context(), model, throttle.Usage{"requests": 1, "tokens": tokens})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bar is the width of the bar of gpt's tokens a minute, in percent of its track.
const bar = `(() => { const i = document.querySelector('[data-name="gpt"] tbody tr:nth-child(2) .bar i');
	return 100 * i.getBoundingClientRect().width / i.parentElement.getBoundingClientRect().width; })()`

func TestPageInABrowser(t *testing.T) {
	b := newBrowser(t)
	m := mount(t, "/debug/throttle/", "gpt")
	m.reserve(t, "<img src=x onerror=alert(1)>", 1) // a name is text, whatever is in it
	b.size(1280, 800)
	b.do(chromedp.Navigate(m.url))
	b.until("the page is live", `document.getElementById("link").dataset.state === "live" && document.querySelectorAll(".family").length === 2`)
	b.until("a full bar", bar+" > 99")
	if title := b.text("document.title"); title != "throttle · a service" {
		t.Errorf("title %q", title)
	}

	// Bars move when the limiter is used, and back when what was not used is given back.
	r := m.reserve(t, "gpt", 4500)
	b.until("the bar falls to a quarter", bar+" < 40")
	b.until("use shows", `document.querySelector('[data-name="gpt"] tbody tr:nth-child(2) .use').textContent.match(/^[1-9]/) !== null`)
	b.until("the meter tells a screen reader", `(() => { const m = document.querySelector('[data-name="gpt"] tbody tr:nth-child(2) .bar');
		return m.getAttribute("role") === "meter" && +m.getAttribute("aria-valuenow") < 2400 && m.getAttribute("aria-valuemax") === "6000" && /of 6k$/.test(m.getAttribute("aria-valuetext")); })()`)
	b.until("the plot has a curve", `document.querySelector('[data-name="gpt"] tbody tr:nth-child(2) path.curve').getAttribute("d").split("L").length > 3`)
	if err := r.Settle(t.Context(), throttle.Usage{"tokens": 100}); err != nil {
		t.Fatal(err)
	}
	b.until("the bar rises again", bar+" > 85")

	// One who waits is shown with what it wants, and is an event; so is a refusal.
	m.reserve(t, "gpt", 5800)
	go func() {
		_, _ = m.limiter.Acquire(t.Context(), "gpt", throttle.Usage{"tokens": 5000}, throttle.Flow("batch", 1))
	}()
	_, _ = m.limiter.TryAcquire(t.Context(), "gpt", throttle.Usage{"tokens": 9000})
	b.until("the line shows", `(() => { const l = document.querySelector('[data-name="gpt"] .line'); return !l.hidden && /batch.*5k tokens/.test(l.innerText.replace(/\s+/g, " ")); })()`)
	b.until("the state", `document.querySelector('[data-name="gpt"]').dataset.state === "waiting"`)
	b.until("events", `/asked for more tokens/.test(document.getElementById("events").innerText) && /calls wait in line/.test(document.getElementById("events").innerText)`)
	b.until("the title counts", `document.title.startsWith("(1) ")`)

	// The filter hides, the pause holds.
	b.do(chromedp.SendKeys("#filter", "img", chromedp.ByID))
	b.until("the filter", `document.querySelector('[data-name="gpt"]').hidden`)
	b.do(chromedp.SetValue("#filter", "", chromedp.ByID), chromedp.Evaluate(`document.getElementById("filter").dispatchEvent(new Event("input"))`, nil))
	b.do(chromedp.Click("#freeze", chromedp.ByID))
	before := b.text(`document.querySelector('[data-name="gpt"] .amount').textContent + document.getElementById("totals").textContent`)
	if err := m.limiter.Pause(t.Context(), "gpt", time.Minute); err != nil {
		t.Fatal(err)
	}
	b.until("events go on while the view is paused", `/paused for/.test(document.getElementById("events").innerText)`)
	if after := b.text(`document.querySelector('[data-name="gpt"] .amount').textContent + document.getElementById("totals").textContent`); after != before {
		t.Errorf("paused, the view went from %q to %q", before, after)
	}
	b.do(chromedp.Click("#freeze", chromedp.ByID))
	b.until("and goes on", `document.querySelector('[data-name="gpt"]').dataset.state === "paused"`)
	b.quiet()
}

// It looks right in light and dark, from a phone to a wide screen, and nothing has to be scrolled sideways.
func TestPageFits(t *testing.T) {
	b := newBrowser(t)
	m := mount(t, "/", "gpt", strings.Repeat("a-family-with-a-long-name", 12), "mini")
	m.reserve(t, "gpt", 6000)
	for _, flow := range []string{strings.Repeat("a-flow-with-a-long-name", 10), "production"} {
		go func() {
			_, _ = m.limiter.Acquire(t.Context(), "gpt", throttle.Usage{"requests": 3, "tokens": 5000}, throttle.Flow(flow, 1))
		}()
	}
	b.do(chromedp.Navigate(m.url))
	for _, width := range []int64{320, 360, 390, 600, 768, 1024, 1440, 2560} {
		b.size(width, 800)
		b.until("the page is live", `document.querySelectorAll(".family .line:not([hidden]) tbody tr").length === 2`)
		if over := b.number("document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
			t.Errorf("at %d pixels the page is %v too wide", width, over)
		}
		if w := b.number(`document.querySelector(".bar").getBoundingClientRect().width`); w < 55 {
			t.Errorf("at %d pixels a bar is %v wide", width, w)
		}
		if width < 600 {
			if h := b.number(`Math.min(...[...document.querySelectorAll("button, input, select")].map((e) => e.getBoundingClientRect().height))`); h < 36 {
				t.Errorf("at %d pixels a control is %v high", width, h)
			}
		}
	}
	contrasts := map[string]float64{}
	for _, name := range []string{"light", "dark"} {
		b.media(scheme(name))
		contrasts[name] = b.number("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).reduce((a, x) => a + +x, 0) / 3")
		if least := b.number(leastContrast); least < 4.5 {
			t.Errorf("%s: the least contrast of a text is %.2f, want 4.5 (WCAG 2.2 AA)", name, least)
		}
	}
	if contrasts["light"] < 200 || contrasts["dark"] > 60 {
		t.Errorf("backgrounds %v: want light and dark", contrasts)
	}
	b.media(&emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	if moves := b.text(`getComputedStyle(document.querySelector(".bar i")).transitionDuration`); moves != "0s" {
		t.Errorf("with reduced motion, bars take %s", moves)
	}
	b.quiet()
}

// leastContrast is the lowest contrast between a text and what is behind it, by WCAG's formula.
const leastContrast = `(() => {
	const rgb = (c) => (c.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
	const light = (c) => { const [r, g, b] = rgb(c).map((x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor, v = rgb(c); if (v.length < 4 || v[3] > 0.99) return c; } return "rgb(255,255,255)"; };
	let least = 21;
	for (const e of document.querySelectorAll("body *")) {
		if (!e.checkVisibility() || e.closest("svg, .hidden, .skip") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		const a = light(getComputedStyle(e).color), b = light(behind(e));
		least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
	}
	return least;
})()`

// Everything can be reached with the keyboard, in the order in which it is read, and shows that it has the focus.
func TestPageByKeyboard(t *testing.T) {
	b := newBrowser(t)
	m := mount(t, "/", "gpt")
	m.reserve(t, "gpt", 6000)
	go func() { _, _ = m.limiter.Acquire(t.Context(), "gpt", throttle.Usage{"tokens": 5000}) }()
	b.size(1280, 800)
	b.do(chromedp.Navigate(m.url))
	b.until("the line shows", `document.querySelectorAll(".family .line:not([hidden]) tbody tr").length === 1`)
	var order []string
	for range 8 {
		order = append(order, b.tab())
		if outline := b.text(`document.activeElement === document.body ? "solid" : getComputedStyle(document.activeElement).outlineStyle`); outline == "none" {
			t.Errorf("%s doesn't show its focus", order[len(order)-1])
		}
	}
	if want := []string{"skip", "filter", "order", "freeze", "summary", "scroll", "events"}; !slices.Equal(order[:7], want) {
		t.Errorf("Tab goes to %q, want %q", order, want)
	}
	// What a screen reader needs: a name for everything that can be operated, headings, live regions.
	unnamed := b.text(`[...document.querySelectorAll("input, select, button, [role=meter], [role=img], [role=region], section, aside")]
		.filter((e) => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim() && e.tagName === "BUTTON" ||
			(e.getAttribute("aria-labelledby") && document.getElementById(e.getAttribute("aria-labelledby"))?.textContent)))
		.map((e) => e.outerHTML.slice(0, 80)).join("\n")`)
	if unnamed != "" {
		t.Errorf("without a name: %s", unnamed)
	}
	if live := b.text(`["link", "events"].map((id) => document.getElementById(id).getAttribute("role") + "/" + document.getElementById(id).getAttribute("aria-live")).join()`); live != "status/null,log/polite" {
		t.Errorf("live regions: %s", live)
	}
	if jumps := b.text(`[...document.querySelectorAll("h1, h2")].map((h) => h.tagName).join()`); !strings.HasPrefix(jumps, "H1,H2") {
		t.Errorf("headings %s", jumps)
	}
	b.quiet()
}

// A page whose server has gone says so, and goes on when it is back.
func TestPageFindsItsServerAgain(t *testing.T) {
	b := newBrowser(t)
	l := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 6000)))
	defer l.Close()
	page := throttlehttp.Handler(l, &throttlehttp.Options{Models: []string{"gpt"}, Interval: 200 * time.Millisecond})
	server := httptest.NewServer(page)
	address := server.Listener.Addr().String()
	b.do(chromedp.Navigate(server.URL))
	b.until("the page is live", `document.getElementById("link").dataset.state === "live"`)
	page.Close()
	server.Close()
	b.until("it says that it lost the connection", `document.getElementById("link").dataset.state === "lost"`)
	page = throttlehttp.Handler(l, &throttlehttp.Options{Models: []string{"gpt", "new"}, Interval: 200 * time.Millisecond})
	defer page.Close()
	again := httptest.NewUnstartedServer(page)
	listener, err := listen(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Listener.Close()
	again.Listener = listener
	again.Start()
	defer again.Close()
	b.until("it goes on", `document.getElementById("link").dataset.state === "live" && document.querySelectorAll(".family").length === 2`)
	page.Close()
}

// listen listens on an address that was just given up.
func listen(address string) (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", address); err == nil {
			return l, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, err
}
