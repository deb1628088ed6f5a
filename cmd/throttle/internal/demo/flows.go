package demo

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/workload"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/internal/report"
)

// Sharing is how production and a batch share one key.
type Sharing string

// The sharings, in the order in which they are tried.
const (
	// NoFlows leaves every limiter a flow of its own.
	NoFlows Sharing = "no-flows"
	// TwoFlows makes production one flow and the batch, however many limiters it has, another.
	TwoFlows Sharing = "two-flows"
)

// Title names the sharing to people.
func (s Sharing) Title() string {
	if s == NoFlows {
		return "each limiter its own"
	}
	return "production, batch"
}

const (
	// BatchLimiters stand for as many processes of a batch, each with batchEach requests at once: more than the key allows.
	BatchLimiters = 40
	batchEach     = 4
	// productionPart is the part of the key's tokens that production needs.
	productionPart = 0.10
	// productionInput and productionOutput bound production's requests, in tokens.
	productionInput, productionOutput = 400, 512
	// watchFor is how long each sharing is watched, in minutes of the provider's.
	watchFor = 3.5
)

// FlowResult is what came out of one sharing; its JSON form is part of the command's interface. Result's Requests are
// production's and the batch's together.
type FlowResult struct {
	Name Sharing `json:"name"`
	Result
	ProductionRequests int     `json:"production_requests"`
	ProductionServed   int     `json:"production_served"`
	WaitMedian         float64 `json:"production_wait_p50_s"`
	Wait99             float64 `json:"production_wait_p99_s"`
	// Served is how many of production's requests had been granted, over seconds since the start.
	Served []report.Point `json:"-"`
}

// FlowReport is the whole.
type FlowReport struct {
	Ways    []FlowResult `json:"ways"`
	Setting Setting      `json:"-"`
}

// RunFlows puts production beside a batch, on one key, first with each limiter a flow of its own, then with two flows.
func RunFlows(ctx context.Context, o Options) (*FlowReport, error) {
	ways, setting, err := runEach(ctx, o, []Sharing{NoFlows, TwoFlows}, (*run).sharing)
	if err != nil {
		return nil, err
	}
	return &FlowReport{ways, setting}, nil
}

// sharing watches one sharing.
func (r *run) sharing(ctx context.Context, s Sharing) (FlowResult, error) {
	server, err := provider.Start(r.setting.provider(r.work.Count))
	if err != nil {
		return FlowResult{}, err
	}
	defer server.Close()
	store, err := driver.Open(ctx, r.Store)
	if err != nil {
		return FlowResult{}, err
	}
	defer store.Close()
	short, err := r.work.Short(productionInput, productionOutput)
	if err != nil {
		return FlowResult{}, err
	}
	if len(short) == 0 {
		return FlowResult{}, errors.New("no package has a documentation short enough for production")
	}
	key := &sharedKey{run: r, sharing: s, store: store, client: newClient(server.URL), short: short}
	defer key.client.http.CloseIdleConnections()
	if err := key.client.warm(ctx, connections); err != nil {
		return FlowResult{}, err
	}
	every := key.every()
	planned := int(key.takes() / every)
	r.Watch.Begin(s.Title(), planned)
	waits, elapsed, err := key.watch(ctx, every, planned)
	r.Watch.End()
	if err != nil {
		return FlowResult{}, err
	}
	return key.result(waits, elapsed, server.Stats()[workload.Model]), nil
}

// sharedKey is one key that production and a batch use.
type sharedKey struct {
	run     *run
	sharing Sharing
	store   driver.Driver
	client  *client
	short   []workload.Request
	next    atomic.Int64 // of the batch's requests
}

// every is the time between two of production's requests.
func (k *sharedKey) every() time.Duration {
	var used float64
	for _, r := range k.short {
		used += float64(r.Input) + float64(productionOutput)*(minAnswer+maxAnswer)/2
	}
	used /= float64(len(k.short))
	rate := productionPart * float64(k.run.setting.Limits.TokensPerMinute) / k.run.setting.Minute.Seconds()
	return time.Duration(used / rate * float64(time.Second))
}

func (k *sharedKey) takes() time.Duration {
	return time.Duration(watchFor * float64(k.run.setting.Minute))
}

func (k *sharedKey) limiter(flow string) *throttle.Limiter {
	models := throttle.Shared("throttle-demo/"+k.run.id+"/"+string(k.sharing), k.run.setting.quotas()...)
	if k.sharing == NoFlows {
		return throttle.New(k.store, models)
	}
	return throttle.New(k.store, models, throttle.Flow(flow, 1))
}

// wait is production's, for one request.
type wait struct {
	came, waited time.Duration
	served       bool
}

// watch runs production beside the batch.
func (k *sharedKey) watch(ctx context.Context, every time.Duration, planned int) (waits []wait, elapsed time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, k.takes(), errOver)
	defer cancel()
	failed := make(chan error, 1)
	fail := func(err error) {
		if err != nil && !errors.Is(context.Cause(ctx), errOver) {
			select {
			case failed <- err:
				cancel()
			default:
			}
		}
	}
	begun := time.Now()
	var wg sync.WaitGroup
	for range BatchLimiters {
		lim := k.limiter("batch")
		defer lim.Close()
		for range batchEach {
			wg.Go(func() {
				for ctx.Err() == nil {
					i := k.next.Add(1) - 1
					fail(k.send(ctx, lim, k.run.work.Requests[i%int64(len(k.run.work.Requests))], func() {}))
				}
			})
		}
	}
	lim := k.limiter("production")
	defer lim.Close()
	waits = make([]wait, planned)
	answered := make(chan int)
	var production sync.WaitGroup
	production.Go(func() {
		for i := range waits {
			if err := pause(ctx, time.Until(begun.Add(time.Duration(i+1)*every))); err != nil {
				waits = waits[:i]
				return
			}
			w := &waits[i]
			w.came = time.Since(begun)
			production.Go(func() {
				err := k.send(ctx, lim, k.short[i%len(k.short)], func() { w.waited, w.served = time.Since(begun)-w.came, true })
				if !w.served {
					w.waited = time.Since(begun) - w.came // at least
				}
				fail(err)
				if err == nil {
					answered <- k.short[i%len(k.short)].Input
				}
			})
		}
	})
	go func() {
		production.Wait()
		close(answered)
	}()
	for tokens := range answered {
		k.run.Watch.Answer(tokens)
	}
	wg.Wait()
	elapsed = time.Since(begun)
	select {
	case err := <-failed:
		return nil, 0, err
	default:
		return waits, elapsed, nil
	}
}

// errOver ends a sharing.
var errOver = errors.New("watched long enough")

// send sends one request under lim until it is answered, and calls granted each time when its turn has come.
func (k *sharedKey) send(ctx context.Context, lim *throttle.Limiter, r workload.Request, granted func()) error {
	reserved := throttle.Usage{"requests": 1, "tokens": float64(r.Reserve)}
	for {
		err := lim.Do(ctx, workload.Model, reserved, func(ctx context.Context) (throttle.Usage, error) {
			granted()
			used, err := k.client.send(ctx, r.Body)
			if err != nil {
				return nil, err
			}
			return throttle.Usage{"requests": 1, "tokens": float64(used)}, nil
		})
		if !errors.Is(err, errRefused) { // the provider counts those
			return err
		}
	}
}

func (k *sharedKey) result(waits []wait, elapsed time.Duration, st provider.Stats) FlowResult {
	set := k.run.setting
	res := FlowResult{Name: k.sharing, ProductionRequests: len(waits), Result: Result{
		Requests: st.Accepted, Rejected429: st.Rejected(), Elapsed: elapsed.Seconds(),
		Ideal: st.Used.Ideal(set.Limits, set.Minute).Seconds(), TokensReserved: st.Charged.Tokens, TokensUsed: st.Used.Tokens,
	}}
	res.ShareOfIdeal = res.Ideal / res.Elapsed
	var all, granted []float64
	for _, w := range waits {
		all = append(all, w.waited.Seconds())
		if w.served {
			res.ProductionServed++
			granted = append(granted, (w.came + w.waited).Seconds())
		}
	}
	slices.Sort(all)
	slices.Sort(granted)
	res.WaitMedian, res.Wait99 = quantile(all, 0.50), quantile(all, 0.99)
	res.Served = []report.Point{{}}
	for i, at := range granted {
		res.Served = append(res.Served, report.Point{X: at, Y: float64(i + 1)})
	}
	return res
}

// quantile of a sorted list, 0 of an empty one.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(math.Ceil(q*float64(len(sorted))))-1]
}
