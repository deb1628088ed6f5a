package redis

import (
	"context"
	"fmt"
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
	client redis.Scripter
	prefix string
	key    string
	model  bucket.State
}

// step applies a request to both at an instant, and returns how they differ, or "".
func (s *scripted) step(ctx context.Context, now bucket.Micros, r *bucket.Request, parts [][]bucket.Op) (string, error) {
	request := redisscript.Request{Name: r.Batch, Limits: r.Limits, Parts: parts}
	about := &redisscript.About{Prefix: len(s.prefix), Retry: r.Retry, Since: r.Since, Now: &now}
	text, err := s.client.EvalSha(ctx, redisscript.SHA1, []string{s.prefix + s.key}, request.AppendArgs([]any{about})...).Text()
	if err != nil {
		return "", err
	}
	known := s.model.At != 0 || len(s.model.Buckets) > 0
	want := make([]bucket.Result, len(r.Ops))
	s.model.Apply(now, r, want)

	answer := redisscript.ReadAnswer(text)
	got := make([]bucket.Result, len(r.Ops))
	var part redisscript.Part
	from := 0
	for _, ops := range parts {
		part = answer.Part(got[from : from+len(ops)])
		from += len(ops)
	}
	if err := answer.Err(); err != nil {
		return "", err
	}
	for i := range got {
		if g, w := describe(&got[i]), describe(&want[i]); g != w {
			return fmt.Sprintf("operation %d, %+v:\nscript %s\nGo     %s", i, r.Ops[i], g, w), nil
		}
	}
	if part.AbsentAt != s.model.AbsentAt() || part.Waiting != len(s.model.Line) {
		return fmt.Sprintf("script: absent at %d, %d waiting\nGo:     absent at %d, %d waiting", part.AbsentAt, part.Waiting, s.model.AbsentAt(), len(s.model.Line)), nil
	}
	if answer.Absent && known {
		return "the script found no state", nil
	}
	return "", nil
}

// compare returns how the stored state differs from Go's, or "".
func (s *scripted) compare(stored string) (string, error) {
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
func TestScriptIsTheSameArithmetic(t *testing.T) {
	ctx := t.Context()
	client := connect(t)
	prefix := testservice.Prefix(t, testservice.Redis(t))
	if err := client.ScriptLoad(ctx, redisscript.Source).Err(); err != nil {
		t.Fatal(err)
	}
	differential(t, func(rt *rapid.T) {
		s := &scripted{client: client, prefix: prefix, key: "{k}"}
		if err := client.Del(ctx, prefix+s.key).Err(); err != nil {
			rt.Fatal(err)
		}
		run(ctx, rt, s, func() (string, error) { return client.Get(ctx, prefix+s.key).Result() })
	})
}

// differential checks a property, and says how many sequences were tried.
func differential(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	start, sequences := time.Now(), 0
	rapid.Check(t, func(rt *rapid.T) { sequences++; property(rt) })
	t.Logf("%d sequences in %v", sequences, time.Since(start).Round(time.Millisecond))
}

// run draws a sequence of requests and compares after each.
func run(ctx context.Context, rt *rapid.T, s *scripted, get func() (string, error)) {
	g := newGenerator(rt)
	for range rapid.IntRange(1, 16).Draw(rt, "requests") {
		now, r, parts := g.request(rt)
		difference, err := s.step(ctx, now, r, parts)
		if err != nil {
			rt.Fatal(err)
		}
		if difference == "" {
			var stored string
			if stored, err = get(); err == redis.Nil && s.model.AbsentAt() == s.model.At && len(s.model.Buckets) == 0 {
				continue
			} else if err == nil {
				difference, err = s.compare(stored)
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		if difference != "" {
			rt.Fatalf("at %d, %+v:\n%s", now, *r, difference)
		}
	}
}
