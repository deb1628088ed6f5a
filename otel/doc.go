// Package throttleotel exports what a limiter does to OpenTelemetry: metrics, and spans for waits. Its import path ends
// in otel; give it its own name where you import it, beside OpenTelemetry's:
//
//	import throttleotel "github.com/tokenthrottle/throttle/otel"
//
//	lim := throttle.New(…)
//	stop, err := throttleotel.Register(lim, nil)
//
// # Basics
//
// [Register] does all there is to do for one limiter. [NewHooks] makes the hooks alone, for several limiters to share.
// docs/observability.md says what each metric means.
//
// A call that stands in line gets a span, throttle.wait, as a child of the span in its context; refusals and settlements
// are events of that span. A call without a recording span makes none. Attributes keep the GenAI semantic conventions
// where these have one: gen_ai.request.model for the model, and gen_ai.usage.input_tokens and gen_ai.usage.output_tokens
// on settlements of resources of those names (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans). The
// metrics gen_ai.client.* are the API client's to emit, and aren't emitted here: they would count twice.
//
// # Caveats
//
// Levels and lines are the store's, so every process that shares it exports the same. Counts are each process's own.
//
// How an estimate compares with what was used is in two counters, throttle.units.reserved and throttle.units.used: a
// histogram would have to be recorded at each settlement, which costs more than the settlement.
package throttleotel
