package observe

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium finds a browser. Where there is none the test is skipped, loudly; with THROTTLE_CHROMIUM=required it fails.
// THROTTLE_CHROMIUM may also be the browser's path.
func chromium(t *testing.T) string {
	t.Helper()
	setting := os.Getenv("THROTTLE_CHROMIUM")
	names := []string{"chromium", "chromium-browser", "google-chrome", "chrome"}
	if setting != "" && setting != "required" {
		names = []string{setting}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	text := "NO CHROMIUM: THE LIVE PAGE IS NOT TESTED IN A BROWSER. Install one (apt-get install chromium), or set THROTTLE_CHROMIUM to its path."
	if setting != "" {
		t.Fatal(text)
	}
	fmt.Fprintln(os.Stderr, "\n"+text+"\n")
	t.Skip(text)
	return ""
}

// browser is a headless Chromium with one tab, whose complaints are noted.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := chromium(t)
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		// Nothing of the outside is looked up.
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ignore := func(string, ...any) {} // values of the protocol that are newer than the library
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(ignore))
	running := chromedp.FromContext(ctx)
	t.Cleanup(func() {
		cancel()
		stop()
		if running.Allocator != nil {
			running.Allocator.Wait() // until the browser has ended and its folder is gone
		}
	})
	ctx, done := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(done)
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			b.complaints = append(b.complaints, fmt.Sprintf("console.%s", e.Type))
		case *runtime.EventExceptionThrown:
			b.complaints = append(b.complaints, e.ExceptionDetails.Error())
		case *cdplog.EventEntryAdded:
			b.complaints = append(b.complaints, e.Entry.Text)
		}
	})
	b.do(runtime.Enable(), cdplog.Enable())
	return b
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// quiet fails the test if the page has complained.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		b.t.Errorf("the browser complains: %s", strings.Join(b.complaints, "\n"))
	}
}

func (b *browser) size(width, height int64) {
	b.t.Helper()
	b.do(emulation.SetDeviceMetricsOverride(width, height, 2, width < 600))
}

func (b *browser) media(features ...*emulation.MediaFeature) {
	b.t.Helper()
	b.do(emulation.SetEmulatedMedia().WithFeatures(features))
}

func scheme(name string) *emulation.MediaFeature {
	return &emulation.MediaFeature{Name: "prefers-color-scheme", Value: name}
}

// number evaluates an expression.
func (b *browser) number(js string) float64 {
	b.t.Helper()
	var v float64
	b.do(chromedp.Evaluate(js, &v))
	return v
}

func (b *browser) text(js string) string {
	b.t.Helper()
	var v string
	b.do(chromedp.Evaluate(js, &v))
	return v
}

// until waits for an expression to become true.
func (b *browser) until(what, js string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Run(ctx, chromedp.Poll(js, nil, chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		b.t.Fatalf("%s: %v; the page says %q", what, err, b.text("document.body.innerText"))
	}
}

// tab presses the Tab key and says what has the focus then.
func (b *browser) tab() string {
	b.t.Helper()
	press := func(kind input.KeyType) chromedp.Action {
		return input.DispatchKeyEvent(kind).WithKey("Tab").WithCode("Tab").WithWindowsVirtualKeyCode(9)
	}
	b.do(press(input.KeyRawDown), press(input.KeyUp))
	return b.text(`(() => { const e = document.activeElement;
		return e === document.body ? "" : e.id || e.className || e.tagName.toLowerCase(); })()`)
}

// shot writes a picture of the window where THROTTLE_SHOTS says, if it does: docs/img is made so.
func (b *browser) shot(name string) {
	b.t.Helper()
	folder := os.Getenv("THROTTLE_SHOTS")
	if folder == "" {
		return
	}
	var png []byte
	b.do(chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(folder+"/"+name+".png", png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
