package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/internal/redisscript"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// scripted is a key of a Redis beside the state that Go computes for it.
type scripted struct {
	client      redis.Cmdable
	sha         string
	prefix, key string
	model       bucket.State
}

// call applies a request by the script at an instant. It returns the results of the parts, end to end, and how the state
// stands after each.
func (s *scripted) call(ctx context.Context, now bucket.Micros, r *bucket.Request, parts [][]bucket.Op) ([]bucket.Result, []redisscript.Part, bool, error) {
	request := redisscript.Request{Name: r.Batch, Limits: r.Limits, Parts: parts}
	about := &redisscript.About{Prefix: len(s.prefix), Retry: r.Retry, Since: r.Since, Now: &now}
	text, err := s.client.EvalSha(ctx, s.sha, []string{s.prefix + s.key}, packed(&request, about)...).Text()
	if err != nil {
		return nil, nil, false, err
	}
	answer := redisscript.ReadAnswer(text)
	results := make([]bucket.Result, len(r.Ops))
	var after []redisscript.Part
	from := 0
	for i, ops := range parts {
		after = append(after, answer.Part(r.Limits, ops, results[from:from+len(ops)], i == len(parts)-1))
		from += len(ops)
	}
	return results, after, answer.Absent, answer.Err()
}

// packed are the script's arguments for a request.
func packed(r *redisscript.Request, about *redisscript.About) []any {
	var args redisscript.Args
	args.Add(r)
	return args.AppendTo([]any{about})
}

// step applies a request to both at an instant, and returns how they differ, or "".
func (s *scripted) step(ctx context.Context, now bucket.Micros, r *bucket.Request, parts [][]bucket.Op) (string, error) {
	got, after, absent, err := s.call(ctx, now, r, parts)
	if err != nil {
		return "", err
	}
	known := s.model.At != 0 || len(s.model.Buckets) > 0
	want := make([]bucket.Result, len(r.Ops))
	var wanted []redisscript.Part
	named := len(parts) > 1 && r.Batch != ""
	apply := func(r *bucket.Request, want []bucket.Result) {
		s.model.Apply(now, r, want)
		at := s.model.AbsentAt()
		if named { // the name that is kept at the end counts before it too
			at = max(at, max(now, s.model.At)+bucket.RetryWindow)
		}
		wanted = append(wanted, redisscript.Part{AbsentAt: at, Waiting: len(s.model.Line)})
	}
	if len(parts) == 1 {
		apply(r, want)
	} else { // requests with one name
		from := 0
		for _, ops := range parts {
			apply(&bucket.Request{Limits: r.Limits, Ops: ops}, want[from:])
			from += len(ops)
		}
		if named {
			s.remember(now, r.Batch, want)
			wanted[len(wanted)-1].AbsentAt = s.model.AbsentAt()
		}
	}
	if !slices.Equal(after, wanted) {
		return fmt.Sprintf("script %+v, Go %+v", after, wanted), nil
	}
	for i := range got {
		if g, w := describe(&got[i]), describe(&want[i]); g != w {
			return fmt.Sprintf("operation %d, %+v:\nscript %s\nGo     %s", i, r.Ops[i], g, w), nil
		}
	}
	if absent && known {
		return "the script found no state", nil
	}
	return "", nil
}

// remember makes the model remember a name for what was done without one.
func (s *scripted) remember(now bucket.Micros, name string, results []bucket.Result) {
	s.model.Apply(now, &bucket.Request{Batch: name}, nil)
	var effects []byte
	for i := range results {
		effect := byte('0')
		if results[i].Status == bucket.Done || results[i].Status == bucket.Granted {
			effect = '1'
		}
		effects = append(effects, effect)
	}
	s.model.Batches[len(s.model.Batches)-1].Effects = string(effects)
}

// compare returns how the stored state differs from Go's, or "".
func (s *scripted) compare(ctx context.Context) (string, error) {
	stored, err := s.stored(ctx)
	if err != nil || stored == "" && s.model.At == 0 && len(s.model.Buckets) == 0 {
		return "", err
	}
	state, err := redisscript.DecodeState(stored)
	if err != nil {
		return "", err
	}
	if got, want := string(state.Encode(nil)), string(s.model.Encode(nil)); got != want {
		return fmt.Sprintf("stored %s\nGo     %s", got, want), nil
	}
	return "", nil
}

// describe writes a result with all its bits.
func describe(r *bucket.Result) string {
	text := fmt.Sprintf("%v quota %d retry after %d place %d", r.Status, r.Quota, r.RetryAfter, r.Place)
	if r.State != nil {
		text += " " + string(r.State.Encode(nil))
	}
	return text
}

// TestScriptIsTheSameArithmetic runs random requests through the script and through Go, and wants the same bits.
func TestScriptIsTheSameArithmetic(t *testing.T) { differential(t, redisscript.Source()) }

// TestScriptWithoutStruct does the same as on a server whose Lua has no struct.
func TestScriptWithoutStruct(t *testing.T) {
	differential(t, replaced(t, "rawget(_G, 'struct')", "nil"))
}

// TestScriptWithoutQuick does the same with the general way alone, where the other two take the quick way mostly.
func TestScriptWithoutQuick(t *testing.T) {
	differential(t, replaced(t, "while #ARGV == 5 and not since do", "while false do"))
}

// replaced is the script with one thing changed.
func replaced(t *testing.T, old, new string) string {
	t.Helper()
	if n := strings.Count(redisscript.Source(), old); n != 1 {
		t.Fatalf("the script holds %q %d times", old, n)
	}
	return strings.Replace(redisscript.Source(), old, new, 1)
}

func newScripted(t *testing.T, source string) *scripted {
	s := &scripted{client: connect(t), prefix: testservice.Prefix(t, testservice.Redis(t)), key: "{k}"}
	var err error
	if s.sha, err = s.client.ScriptLoad(t.Context(), source).Result(); err != nil {
		t.Fatal(err)
	}
	return s
}

// reset makes the key an absent one.
func (s *scripted) reset(ctx context.Context) error {
	s.model = bucket.State{}
	return s.client.Del(ctx, s.prefix+s.key).Err()
}

// stored returns the state as Redis has it; "" for none.
func (s *scripted) stored(ctx context.Context) (string, error) {
	text, err := s.client.Get(ctx, s.prefix+s.key).Result()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return text, err
}

func differential(t *testing.T, source string) {
	ctx, s := t.Context(), newScripted(t, source)
	begin, sequences := time.Now(), 0
	rapid.Check(t, func(rt *rapid.T) {
		sequences++
		if err := s.reset(ctx); err != nil {
			rt.Fatal(err)
		}
		g := newGenerator(rt)
		for range rapid.IntRange(1, 16).Draw(rt, "requests") {
			now, r, parts := g.request(rt)
			difference, err := s.step(ctx, now, r, parts)
			if err == nil && difference == "" {
				difference, err = s.compare(ctx)
			}
			if err != nil {
				rt.Fatal(err)
			}
			if difference != "" {
				rt.Fatalf("at %d, %+v:\n%s", now, *r, difference)
			}
		}
	})
	t.Logf("%d sequences in %v", sequences, time.Since(begin).Round(time.Millisecond))
}

// TestUsualRequestsAreQuick makes sure that what is done most doesn't reach the general way.
func TestUsualRequestsAreQuick(t *testing.T) {
	ctx := t.Context()
	quick, _, found := strings.Cut(redisscript.Source(), "local bucket = {}")
	if !found {
		t.Fatal("the script has changed: where does the general way begin?")
	}
	limits, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 100, Per: bucket.Minute},
		bucket.Quota{Resource: "requests", Limit: 10_000, Per: bucket.Day},
		bucket.Quota{Resource: "tokens", Limit: 1e6, Per: bucket.Minute, Burst: 1e5},
	)
	if err != nil {
		t.Fatal(err)
	}
	acquire := bucket.Op{Kind: bucket.Acquire, Cost: []float64{1, 500}, Place: "p", Flow: "f", Priority: 3, Poll: 1e6, Grace: 1e6}
	credit := bucket.Op{Kind: bucket.Adjust, Cost: []float64{0, 300}, Flow: "f"}
	record := bucket.Op{Kind: bucket.Record, Cost: []float64{1, 10}}
	for _, c := range []struct {
		name  string
		first []bucket.Op
	}{
		{"absent", nil},
		{"used before", []bucket.Op{acquire}},
		{"limit overridden", []bucket.Op{{Kind: bucket.SetLimit, Quota: 2, Limit: 7e5}}},
		{"block ended", []bucket.Op{{Kind: bucket.Block, Span: 1}}},
		{"both", []bucket.Op{{Kind: bucket.Block, Span: 1}, {Kind: bucket.Observe, Quota: 1, Level: 900, Limit: 5000}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScripted(t, redisscript.Source())
			now := start
			apply := func(name string, parts ...[]bucket.Op) {
				t.Helper()
				now += 1000
				difference, err := s.step(ctx, now, &bucket.Request{Limits: limits, Ops: slices.Concat(parts...), Batch: name}, parts)
				if err == nil && difference == "" {
					difference, err = s.compare(ctx)
				}
				if err != nil || difference != "" {
					t.Fatal(err, difference)
				}
			}
			if c.first != nil {
				apply("some client number/1", c.first)
			}
			if s.sha, err = s.client.ScriptLoad(ctx, quick+" error('not quick')").Result(); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				for i := range 20 { // more clients than a state remembers
					apply(fmt.Sprintf("some client number %d/%d", i, now), []bucket.Op{acquire})
					apply(fmt.Sprintf("some client number %d/%d", i, now), []bucket.Op{credit})
				}
			}
			follower := acquire
			follower.After = true
			apply("some client number/3", []bucket.Op{acquire, follower, follower})
			apply("some client number/2", []bucket.Op{acquire, credit, record}, []bucket.Op{record}, []bucket.Op{acquire})
		})
	}
}
