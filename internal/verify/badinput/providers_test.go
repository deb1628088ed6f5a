package badinput

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/openai"
)

var argument = new(*throttle.ArgumentError)

// use asks a limiter for nothing of a model.
func use(l *throttle.Limiter) error {
	defer l.Close()
	r, err := l.Acquire(ctx, "m", nil)
	if err == nil {
		err = r.Cancel(ctx)
	}
	return err
}

func resolve(models throttle.Models) error { return use(throttle.New(memory.New(), models)) }

// unsent is the end of a transport that must not be reached.
type unsent struct{ t *testing.T }

func (u unsent) RoundTrip(*http.Request) (*http.Response, error) {
	u.t.Error("the request was sent")
	return nil, errors.New("sent")
}

func request(t *testing.T, address string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(`{"model":"m","messages":[],"max_tokens":1}`))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func send(rt http.RoundTripper, r *http.Request) error {
	resp, err := rt.RoundTrip(r)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

func providers() (rows []row) {
	add := func(function, what string, want any, call func(*testing.T) error) {
		rows = append(rows, row{function, what, call, want})
	}
	for what, l := range map[string]openai.Limits{
		"requests below 0": {RPM: -5}, "tokens below 0": {TPM: -2}, "a day's requests below 0": {RPD: -7}, "a day's tokens below 0": {TPD: math.MinInt},
		"a burst above 1": {Burst: 2}, "a burst below 0": {Burst: -1}, "a NaN burst": {Burst: math.NaN()},
		"a window below 0": {RequestWindow: -1}, "a window of an hour": {RequestWindow: time.Hour},
	} {
		add("openai.NewLimiter", what, argument, func(*testing.T) error { return use(openai.NewLimiter(memory.New(), l)) })
		add("openai.Models", what, argument, func(*testing.T) error { return resolve(openai.Models(map[string]openai.Limits{"m": l})) })
		add("openai.Models", what+", for any model", argument, func(*testing.T) error { return resolve(openai.Models(map[string]openai.Limits{"*": l})) })
		add("openai.ModelsFunc", what, argument, func(*testing.T) error {
			return resolve(openai.ModelsFunc(func(string) (openai.Limits, bool) { return l, true }))
		})
	}
	for what, l := range map[string]anthropic.Limits{
		"requests below 0": {RPM: -5}, "input below 0": {ITPM: -2}, "output below 0": {OTPM: math.MinInt},
		"a burst above 1": {Burst: 2}, "a burst below 0": {Burst: -1}, "a NaN burst": {Burst: math.NaN()},
	} {
		add("anthropic.NewLimiter", what, argument, func(*testing.T) error { return use(anthropic.NewLimiter(memory.New(), l)) })
		add("anthropic.Models", what, argument, func(*testing.T) error { return resolve(anthropic.Models(map[string]anthropic.Limits{"m": l})) })
		add("anthropic.ModelsFunc", what, argument, func(*testing.T) error {
			return resolve(anthropic.ModelsFunc(func(string) (anthropic.Limits, bool) { return l, true }))
		})
	}
	model := new(*throttle.ModelError)
	add("openai.NewLimiter", "no driver", argument, func(*testing.T) error { return use(openai.NewLimiter(nil, openai.Limits{RPM: 1})) })
	add("openai.NewLimiter", "a limit beyond what can be counted", model, func(*testing.T) error { return use(openai.NewLimiter(memory.New(), openai.Limits{RPM: math.MaxInt})) })
	add("openai.NewLimiter", "an option out of range", argument, func(*testing.T) error {
		return use(openai.NewLimiter(memory.New(), openai.Limits{RPM: 1}, throttle.MaxWaiters(-1)))
	})
	add("anthropic.NewLimiter", "no driver", argument, func(*testing.T) error { return use(anthropic.NewLimiter(nil, anthropic.Limits{RPM: 1})) })
	add("openai.Models", "no table", throttle.ErrUnknownModel, func(*testing.T) error { return resolve(openai.Models(nil)) })
	add("anthropic.Models", "no table", throttle.ErrUnknownModel, func(*testing.T) error { return resolve(anthropic.Models(nil)) })
	add("openai.ModelsFunc", "no function", argument, func(*testing.T) error { return resolve(openai.ModelsFunc(nil)) })
	add("anthropic.ModelsFunc", "no function", argument, func(*testing.T) error { return resolve(anthropic.ModelsFunc(nil)) })
	// Which of them counted would be a matter of luck.
	add("openai.Models", "different limits for one family", argument, func(*testing.T) error {
		l := throttle.New(memory.New(), openai.Models(map[string]openai.Limits{"gpt-4o": {RPM: 1}, "gpt-4o-2024-08-06": {RPM: 2}, "gpt-4o-2024-05-13": {RPM: 1}}))
		defer l.Close()
		_, err := l.Model(ctx, "gpt-4o")
		return err
	})
	add("openai.Models", "the same limits for one family", nil, func(*testing.T) error {
		l := throttle.New(memory.New(), openai.Models(map[string]openai.Limits{"gpt-4o": {RPM: 1}, "gpt-4o-2024-08-06": {RPM: 1}}))
		defer l.Close()
		_, err := l.Model(ctx, "gpt-4o")
		return err
	})

	// What a count can't read it says; what it can't be given is none.
	for what, body := range map[string]string{"nothing": "", "no JSON": "{", "a body cut off": `{"model":"m","messages":[{"role"`} {
		add("openai.Count", what, openai.ErrBody, func(*testing.T) error { _, err := openai.Count([]byte(body), openai.Chat); return err })
		add("anthropic.Count", what, anthropic.ErrBody, func(*testing.T) error { _, err := anthropic.Count([]byte(body)); return err })
	}
	counter, other := new(openai.Counter), new(anthropic.Counter)
	unmarshalable := make(chan int)
	add("openai.Counter.CountValue", "what can't be marshalled", openai.ErrBody, func(*testing.T) error { _, err := counter.CountValue(unmarshalable, openai.Chat); return err })
	add("openai.Counter.Usage", "what can't be marshalled", openai.ErrBody, func(*testing.T) error { _, err := counter.Usage(ctx, "m", unmarshalable); return err })
	add("anthropic.CountValue", "what can't be marshalled", anthropic.ErrBody, func(*testing.T) error { _, err := anthropic.CountValue(unmarshalable); return err })
	add("anthropic.Counter.Usage", "what can't be marshalled", anthropic.ErrBody, func(*testing.T) error { _, err := other.Usage(ctx, "m", unmarshalable); return err })
	add("openai.Counter.CountReader", "nothing to open", openai.ErrBody, func(*testing.T) error { _, err := counter.CountReader(nil, openai.Chat); return err })
	add("openai.Counter.CountReader", "a reader that doesn't open", openai.ErrBody, func(*testing.T) error {
		_, err := counter.CountReader(func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }, openai.Chat)
		return err
	})
	add("openai.EndpointOf", "no URL", nil, func(t *testing.T) error {
		if _, ok := openai.EndpointOf(nil); ok {
			t.Error("it is an endpoint")
		}
		return nil
	})
	add("openai.ReadRateLimits", "no headers", nil, func(*testing.T) error { openai.ReadRateLimits(nil); return nil })
	add("anthropic.ReadRateLimits", "no headers", nil, func(*testing.T) error { anthropic.ReadRateLimits(nil); return nil })
	add("openai.ImageTokens", "no size that there is", nil, func(t *testing.T) error {
		return positive(openai.ImageTokens("m", openai.Image{Width: math.MinInt, Height: math.MaxInt, Detail: "?"}))
	})
	add("anthropic.ImageTokens", "no size that there is", nil, func(t *testing.T) error { return positive(anthropic.ImageTokens(math.MinInt, math.MaxInt)) })

	// An estimate and a usage that can't be make no reservation below 0, then or later.
	add("openai.Counter.Reserve", "less than nothing", nil, func(*testing.T) error {
		return positive(counter.Reserve(openai.Estimate{Input: -5, Output: math.MinInt, Prediction: -1, Choices: -1}))
	})
	add("openai.Counter.Learn", "less than nothing, or more than there is", nil, func(*testing.T) error {
		c := new(openai.Counter)
		for range 100 {
			c.Learn(openai.Estimate{Input: math.MaxInt, Choices: -1, Hidden: true}, openai.Usage{Input: math.MinInt, Output: math.MinInt})
			c.Learn(openai.Estimate{}, openai.Usage{Output: math.MaxInt})
		}
		return positive(c.Reserve(openai.Estimate{Choices: 1, Hidden: true}))
	})
	add("anthropic.Counter.Reserve", "less than nothing", nil, func(*testing.T) error {
		return usable(other.Reserve(anthropic.Estimate{Input: -5, MaxTokens: math.MinInt}))
	})
	add("anthropic.Counter.Learn", "less than nothing, or more than there is", nil, func(*testing.T) error {
		c := new(anthropic.Counter)
		for range 100 {
			c.Learn(anthropic.Estimate{Input: 1}, anthropic.Usage{Input: math.MinInt, Output: math.MinInt})
			c.Learn(anthropic.Estimate{Input: 1}, anthropic.Usage{Input: math.MaxInt, Output: math.MaxInt})
		}
		return usable(c.Reserve(anthropic.Estimate{Input: 1}))
	})

	openaiLimiter := func() *throttle.Limiter { return openai.NewLimiter(memory.New(), openai.Limits{RPM: 1}) }
	anthropicLimiter := func() *throttle.Limiter { return anthropic.NewLimiter(memory.New(), anthropic.Limits{RPM: 1}) }
	const chat, messages = "https://api.openai.com/v1/chat/completions", "https://api.anthropic.com/v1/messages"
	bad := func(*http.Request) []throttle.CallOption { return []throttle.CallOption{nil, throttle.Flow("", 1)} }
	add("openai.Transport.RoundTrip", "no limiter", argument, func(t *testing.T) error { return send(&openai.Transport{Base: unsent{t}}, request(t, chat)) })
	add("anthropic.Transport.RoundTrip", "no limiter", argument, func(t *testing.T) error { return send(&anthropic.Transport{Base: unsent{t}}, request(t, messages)) })
	// A host that matches nothing would let everything through.
	for _, host := range []string{"", "https://api.openai.com", "api.openai.com/v1", "*", "*.", "api.*.com", "a b"} {
		add("openai.Transport.RoundTrip", "the host "+fmt.Sprintf("%q", host), argument, func(t *testing.T) error {
			return send(&openai.Transport{Base: unsent{t}, Limiter: openaiLimiter(), Hosts: []string{"api.openai.com", host}}, request(t, chat))
		})
		add("anthropic.Transport.RoundTrip", "the host "+fmt.Sprintf("%q", host), argument, func(t *testing.T) error {
			return send(&anthropic.Transport{Base: unsent{t}, Limiter: anthropicLimiter(), Hosts: []string{host}}, request(t, messages))
		})
	}
	add("openai.Transport.RoundTrip", "a pause below 0", argument, func(t *testing.T) error {
		return send(&openai.Transport{Base: unsent{t}, Limiter: openaiLimiter(), MaxPause: -1}, request(t, chat))
	})
	add("anthropic.Transport.RoundTrip", "a pause below 0", argument, func(t *testing.T) error {
		return send(&anthropic.Transport{Base: unsent{t}, Limiter: anthropicLimiter(), MaxPause: -1}, request(t, messages))
	})
	add("openai.Transport.RoundTrip", "nobody to follow", argument, func(t *testing.T) error {
		return send(&openai.Transport{Base: unsent{t}, Limiter: openaiLimiter(), Follow: 77}, request(t, chat))
	})
	add("anthropic.Transport.RoundTrip", "nobody to follow", argument, func(t *testing.T) error {
		return send(&anthropic.Transport{Base: unsent{t}, Limiter: anthropicLimiter(), Follow: 77}, request(t, messages))
	})
	add("openai.Transport.RoundTrip", "a bad flow", argument, func(t *testing.T) error {
		return send(&openai.Transport{Base: unsent{t}, Limiter: openaiLimiter(), CallOptions: bad}, request(t, chat))
	})
	add("anthropic.Transport.RoundTrip", "a bad flow", argument, func(t *testing.T) error {
		return send(&anthropic.Transport{Base: unsent{t}, Limiter: anthropicLimiter(), CallOptions: bad}, request(t, messages))
	})
	add("openai.Transport.RoundTrip", "a limiter without such resources", new(*throttle.UsageError), func(t *testing.T) error {
		l := throttle.New(memory.New(), throttle.Static(throttle.PerDay("bananas", 1)))
		return send(&openai.Transport{Base: unsent{t}, Limiter: l}, request(t, chat))
	})
	add("anthropic.Transport.RoundTrip", "a limiter without such resources", new(*throttle.UsageError), func(t *testing.T) error {
		l := throttle.New(memory.New(), throttle.Static(throttle.PerDay("bananas", 1)))
		return send(&anthropic.Transport{Base: unsent{t}, Limiter: l}, request(t, messages))
	})
	add("openai.Transport.RoundTrip", "a store that is closed", driver.ErrClosed, func(t *testing.T) error {
		d := memory.New()
		d.Close()
		return send(&openai.Transport{Base: unsent{t}, Limiter: openai.NewLimiter(d, openai.Limits{RPM: 1})}, request(t, chat))
	})
	add("openai.Transport.RoundTrip", "no URL", new(*url.Error), func(t *testing.T) error { return noURL(&openai.Transport{Limiter: openaiLimiter()}) })
	add("anthropic.Transport.RoundTrip", "no URL", new(*url.Error), func(t *testing.T) error { return noURL(&anthropic.Transport{Limiter: anthropicLimiter()}) })
	return rows
}

// noURL sends a request that goes nowhere; net/http's own words for it have no type.
func noURL(rt http.RoundTripper) error {
	err := send(rt, &http.Request{Method: http.MethodPost})
	if err != nil {
		err = &url.Error{Op: "Post", Err: err}
	}
	return err
}

func positive(n int) error {
	if n < 0 {
		return fmt.Errorf("%d", n)
	}
	return nil
}

func usable(u throttle.Usage) error {
	for resource, n := range u {
		if !(n >= 0 && n < 1e15) {
			return fmt.Errorf("%g of %s", n, resource)
		}
	}
	return nil
}
