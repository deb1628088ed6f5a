// Package throttle keeps a program, or a whole fleet, under the rate limits of the APIs it calls, LLM APIs above all,
// and wastes none of the quota.
//
// Before each call a program reserves what the call may use, of every limited resource at once; after it, it settles
// with what was really used:
//
//	lim := throttle.New(memory.New(), throttle.Static(
//		throttle.PerMinute("requests", 10_000),
//		throttle.PerMinute("tokens", 2_000_000),
//		throttle.PerDay("requests", 1_000_000)))
//
//	res, err := lim.Acquire(ctx, "gpt-4.1", throttle.Usage{"requests": 1, "tokens": 14_000}) // waits, in order
//	// … the call …
//	err = res.Settle(ctx, throttle.Usage{"tokens": 1_250}) // 12,750 tokens go back now
//
// # Basics
//
// A [Limiter] resolves a model's name to a family ([Models]), whose [Quota] list says what is limited. State lives in a
// driver: memory or a bolt file for one program, Redis or Postgres for a fleet; the limiter is the same over each. An
// acquire takes from every bucket it names, or from none. [Limiter.Acquire] waits, [Limiter.TryAcquire] doesn't,
// [Limiter.Do] acquires, calls and settles in one.
//
// Who waits, waits in a line that all processes share. It is fair between flows ([Flow]), by tokens and not by calls:
// a batch that saturates a key doesn't delay production that needs a tenth of it. [Priority] goes before fairness.
//
// What happens can be watched through [Hooks]: packages prometheus and otel turn them into metrics and traces, package
// throttlehttp into a page. A family can be looked at with [Limiter.Status].
//
// # Caveats
//
// A bucket that is full admits a burst at once, and refill besides: up to burst + limit within one period after an idle
// spell. Where a provider counts fixed windows, give the quota a smaller burst ([Quota.WithBurst]).
//
// The provider's clock and network are its own. A request that is sent the moment it fits can arrive before the
// provider's bucket has refilled as far, by as much as latency varies. A burst a few percent below the limit absorbs
// that; packages openai and anthropic do so by default.
//
// A reservation that is never settled (a crash) counts as used and comes back only by refill. A store that forgets its
// state starts with full buckets; the StateMissing hook tells.
//
// If the store fails, calls fail with a [*StoreError]: nothing is granted that could not be counted.
//
// Where an outcome can't be known (the store's connection broke at the wrong moment and it can't tell either), what was
// to be debited counts as debited: capacity may be lost until it refills, and none is made.
package throttle
