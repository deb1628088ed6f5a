package throttleotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/period"
	"github.com/tokenthrottle/throttle/internal/tally"
)

// Names of the GenAI semantic conventions, which are in development:
// https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans.
const (
	modelKey        = attribute.Key("gen_ai.request.model")
	inputTokensKey  = attribute.Key("gen_ai.usage.input_tokens")
	outputTokensKey = attribute.Key("gen_ai.usage.output_tokens")
)

// spanHooks make spans of waits, and events of refusals and settlements.
func spanHooks() *throttle.Hooks {
	return &throttle.Hooks{WaitEnded: waitSpan, Refused: refusedEvent, Settled: settledEvent}
}

// waitSpan makes the span when the wait has ended: what it waited for last is known only then.
func waitSpan(ctx context.Context, i throttle.WaitInfo) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return
	}
	end := time.Now()
	attributes := append(call(i.Call), priorityKey.Int(i.Priority), text(resourceKey, tally.Cause(&i)))
	if i.Resource != "" {
		attributes = append(attributes, periodKey.String(period.String(i.Per)))
	}
	attributes = amounts(attributes, "throttle.usage.", i.Usage())
	_, span := parent.TracerProvider().Tracer(scope).Start(ctx, "throttle.wait",
		trace.WithTimestamp(end.Add(-i.Waited)), trace.WithAttributes(attributes...))
	if i.Err != nil {
		span.SetStatus(codes.Error, i.Err.Error())
		span.SetAttributes(errorKey.String(tally.WaitErrorKind(i.Err)))
	}
	span.End(trace.WithTimestamp(end))
}

func refusedEvent(ctx context.Context, i throttle.RefusedInfo) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	reason, resource := tally.Refusal(i.Err)
	attributes := append(call(i.Call), reasonKey.String(reason), text(resourceKey, resource))
	span.AddEvent("throttle.refused", trace.WithAttributes(amounts(attributes, "throttle.usage.", i.Usage())...))
}

func settledEvent(ctx context.Context, i throttle.SettledInfo) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attributes := amounts(call(i.Call), "throttle.reserved.", i.Reserved())
	attributes = amounts(attributes, "throttle.used.", &i.Used)
	for resource, units := range i.Used.All() {
		switch resource {
		case "input_tokens":
			attributes = append(attributes, inputTokensKey.Int64(int64(units)))
		case "output_tokens":
			attributes = append(attributes, outputTokensKey.Int64(int64(units)))
		}
	}
	span.AddEvent("throttle.settled", trace.WithAttributes(attributes...))
}

func call(c throttle.Call) []attribute.KeyValue {
	return []attribute.KeyValue{text(modelKey, c.Model()), text(familyKey, c.Family()), text(flowKey, c.Flow())}
}

// amounts adds an attribute for each resource.
func amounts(attributes []attribute.KeyValue, prefix string, a *throttle.Amounts) []attribute.KeyValue {
	for resource, units := range a.All() {
		attributes = append(attributes, attribute.Float64(prefix+tally.Label(resource), units))
	}
	return attributes
}
