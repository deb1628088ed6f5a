package throttle

import (
	"context"
	"log/slog"
)

// SlogHooks returns hooks that log to l: waits, grants and settlements at debug level, refusals at info, a missing state
// and a stepped clock at warn, a store's errors at error. Model and flow names are logged, requests never are. Each
// record of a call has the call's context, so that a handler can add what it carries, such as a trace's id. A nil l is
// [slog.Default].
func SlogHooks(l *slog.Logger) *Hooks {
	if l == nil {
		l = slog.Default()
	}
	bg := context.Background()
	return &Hooks{
		WaitStarted: func(ctx context.Context, i WaitInfo) {
			l.LogAttrs(ctx, slog.LevelDebug, "throttle: wait started", slog.String("model", i.Model()), slog.String("family", i.Family()),
				slog.String("flow", i.Flow()), slog.Any("usage", i.Usage()), slog.String("resource", i.Resource), slog.Duration("per", i.Per),
				slog.Duration("expected", i.Expected), slog.Int("place", i.Place))
		},
		WaitEnded: func(ctx context.Context, i WaitInfo) {
			l.LogAttrs(ctx, slog.LevelDebug, "throttle: wait ended", slog.String("model", i.Model()), slog.String("family", i.Family()),
				slog.String("flow", i.Flow()), slog.Duration("waited", i.Waited), slog.Any("err", i.Err))
		},
		Acquired: func(ctx context.Context, i AcquiredInfo) {
			l.LogAttrs(ctx, slog.LevelDebug, "throttle: acquired", slog.String("model", i.Model()), slog.String("family", i.Family()),
				slog.String("flow", i.Flow()), slog.Any("usage", i.Usage()), slog.Duration("waited", i.Waited))
		},
		Refused: func(ctx context.Context, i RefusedInfo) {
			l.LogAttrs(ctx, slog.LevelInfo, "throttle: refused", slog.String("model", i.Model()), slog.String("family", i.Family()),
				slog.String("flow", i.Flow()), slog.Any("usage", i.Usage()), slog.Any("err", i.Err))
		},
		Settled: func(ctx context.Context, i SettledInfo) {
			if !l.Enabled(ctx, slog.LevelDebug) {
				return
			}
			l.LogAttrs(ctx, slog.LevelDebug, "throttle: settled", slog.String("model", i.Model()), slog.String("family", i.Family()),
				slog.String("flow", i.Flow()), slog.Any("reserved", i.Reserved()), slog.Any("used", i.Used),
				slog.Any("refunded", i.Refunded()), slog.Any("debt", i.Debt()))
		},
		StateMissing: func(i StateMissingInfo) {
			l.LogAttrs(bg, slog.LevelWarn, "throttle: the store lost a family's state", slog.String("family", i.Family), slog.Time("until", i.Until))
		},
		ClockStepped: func(i ClockSteppedInfo) {
			l.LogAttrs(bg, slog.LevelWarn, "throttle: the store's clock stepped", slog.String("family", i.Family), slog.Duration("step", i.Step))
		},
		StoreError: func(i StoreErrorInfo) {
			l.LogAttrs(bg, slog.LevelError, "throttle: store error", slog.Int("families", i.Families), slog.Duration("took", i.Took), slog.Any("err", i.Err))
		},
	}
}
