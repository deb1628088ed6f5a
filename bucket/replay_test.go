package bucket_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// send applies operations as a named batch.
func (k *key) send(batch string, ops ...bucket.Op) []bucket.Result {
	k.t.Helper()
	return k.request(bucket.Request{Limits: k.limits, Ops: ops, Batch: batch})
}

// resend applies them as a retry of a batch that was first sent at since.
func (k *key) resend(batch string, since bucket.Micros, ops ...bucket.Op) []bucket.Result {
	k.t.Helper()
	return k.request(bucket.Request{Limits: k.limits, Ops: ops, Batch: batch, Retry: true, Since: since})
}

func statuses(results []bucket.Result) string {
	var s []bucket.Status
	for _, r := range results {
		s = append(s, r.Status)
	}
	return fmt.Sprint(s)
}

func TestARepeatDoesNothingTwice(t *testing.T) {
	k := newKey(t, tokens())
	ops := []bucket.Op{take(100), credit(30), take(601), take(590), {Kind: bucket.Peek}, {Kind: bucket.Record, Cost: []float64{1}}}
	const want = "[granted done too-large refused done done]"
	if got := statuses(k.send("c/1", ops...)); got != want {
		t.Fatalf("first: %s", got)
	}
	for _, again := range []func() []bucket.Result{
		func() []bucket.Result { return k.resend("c/1", k.now, ops...) },
		func() []bucket.Result { return k.resend("c/1", 0, ops...) }, // however long ago: it is there
		func() []bucket.Result { return k.send("c/1", ops...) },      // and whether or not it says that it is one
	} {
		r := again()
		if got := statuses(r); got != want {
			t.Errorf("again: %s", got)
		}
		if r[3].RetryAfter == 0 || r[4].State == nil {
			t.Errorf("a repeat's answers are as fresh as any: %+v", r)
		}
		k.wantLevel(0, 529)
	}
	k.wait(10 * second)
	if got := statuses(k.resend("c/1", k.now, ops...)); got != "[granted done too-large granted done done]" {
		t.Errorf("what was refused is tried again: %s", got)
	}
	k.wantLevel(0, 10)
	if got := statuses(k.resend("c/1", k.now, ops...)); got != "[granted done too-large granted done done]" {
		t.Errorf("and not a third time: %s", got)
	}
	k.wantLevel(0, 10)
}

func TestARepeatOfFollowers(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(550))
	behind := func(cost float64) bucket.Op { o := line("p", cost); o.After = true; return o }
	ops := []bucket.Op{line("p", 40), behind(30), behind(5)}
	if got := statuses(k.send("c/1", ops...)); got != "[granted refused skipped]" {
		t.Fatal(got)
	}
	if got := statuses(k.send("c/1", ops...)); got != "[granted refused skipped]" {
		t.Error(got)
	}
	k.wait(2500 * ms)
	if got := statuses(k.send("c/1", ops...)); got != "[granted granted granted]" {
		t.Error(got)
	}
	k.wantLevel(0, 0)
}

func TestARetryThatWasNotAppliedIsAppliedNow(t *testing.T) {
	k := newKey(t, tokens())
	k.send("c/1", take(1))
	since := k.now
	k.wait(second)
	if got := statuses(k.resend("c/2", since, take(100))); got != "[granted]" {
		t.Error(got)
	}
	if got := statuses(k.resend("d/1", since, take(100))); got != "[granted]" { // of a client that the state never saw
		t.Error(got)
	}
}

func TestARetryThatCantBeToldIsUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(k *key)
		since   bucket.Micros
		want    string
	}{
		"just within the window": {func(*key) {}, epoch - bucket.RetryWindow + 1, "[granted done]"},
		"longer ago":             {func(*key) {}, epoch - bucket.RetryWindow, "[unknown unknown]"},
		"no idea since when":     {func(*key) {}, 0, "[unknown unknown]"},
		"the clock was set back": {func(*key) {}, epoch + 1, "[unknown unknown]"},
		"sixteen others":         {func(k *key) { others(k, bucket.MaxBatches) }, epoch, "[granted done]"},
		"one more":               {func(k *key) { others(k, bucket.MaxBatches+1) }, epoch, "[unknown unknown]"},
		"one more, but before":   {func(k *key) { others(k, bucket.MaxBatches+1); k.wait(1) }, epoch + 1, "[granted done]"},
		"rebased": {func(k *key) {
			others(k, 1)
			k.wait(-second)
			k.want(bucket.Done, bucket.Op{Kind: bucket.Rebase})
		}, epoch - second, "[unknown unknown]"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKey(t, tokens())
			k.want(bucket.Granted, take(300))
			c.prepare(k)
			before := k.state.Clone()
			got := statuses(k.resend("me/1", c.since, take(1), credit(1)))
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if c.want == "[unknown unknown]" && !reflect.DeepEqual(before, k.state.Clone()) {
				t.Errorf("unknown, and yet something changed: %+v, before %+v", k.state, before)
			}
		})
	}
}

func others(k *key, n int) {
	for i := range n {
		k.send(fmt.Sprintf("other%d/1", i), bucket.Op{Kind: bucket.Peek})
	}
}

// A driver may drop a key at AbsentAt; a batch that was applied before must not be applied again afterwards.
func TestARetryAfterTheKeyWasDropped(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(1))
	since := k.now
	k.wait(3 * second)
	k.send("c/1", credit(1))
	k.now = k.state.AbsentAt()
	if !k.state.Absent(k.now) {
		t.Fatal("not absent")
	}
	k.state = bucket.State{}
	k.want(bucket.Granted, take(100))
	if got := statuses(k.resend("c/1", since, credit(1))); got != "[unknown]" {
		t.Errorf("a credit was applied twice: %s", got)
	}
}

func TestAClientsNextBatchReplacesItsLast(t *testing.T) {
	k := newKey(t, tokens())
	for i := range 100 {
		k.send(fmt.Sprintf("c/%d", i), take(1))
		k.send(fmt.Sprintf("c/d/%d", i), take(1))
		k.send("whole", bucket.Op{Kind: bucket.Peek})
	}
	var ids []string
	for _, b := range k.state.Batches {
		ids = append(ids, b.ID)
	}
	if fmt.Sprint(ids) != "[c/99 c/d/99 whole]" || k.state.Forgotten != 0 {
		t.Errorf("remembered: %q, forgotten %d", ids, k.state.Forgotten)
	}
	k.wait(bucket.RetryWindow)
	k.send("late/1", take(1))
	if len(k.state.Batches) != 1 {
		t.Errorf("what no retry may rely on is kept: %+v", k.state.Batches)
	}
}

func TestBatchNamesAreValidated(t *testing.T) {
	k := newKey(t, tokens())
	for _, name := range []string{"a\nb", "\xff", string(make([]byte, 300))} {
		if got := statuses(k.send(name, take(1), credit(1))); got != "[invalid invalid]" {
			t.Errorf("%q: %s", name, got)
		}
	}
	k.wantLevel(0, 600)
}

func TestARebaseIsNotForgotten(t *testing.T) {
	k := newKey(t, tokens())
	others(k, 1)
	k.wait(-second)
	k.want(bucket.Done, bucket.Op{Kind: bucket.Rebase})
	others(k, bucket.MaxBatches+5) // drops some, whose instants are of the clock that was set back
	if k.state.Forgotten != epoch {
		t.Errorf("forgotten %d, want the instant that was rebased from", k.state.Forgotten)
	}
}

func TestARebaseInABatch(t *testing.T) {
	k := newKey(t, tokens())
	k.send("c/1", take(1))
	k.wait(-second)
	k.send("d/1", bucket.Op{Kind: bucket.Rebase}, take(1))
	if b := k.state.Batches; len(b) != 1 || b[0].ID != "d/1" || b[0].At != k.now || k.state.Forgotten != epoch {
		t.Errorf("batches %+v, forgotten %d", b, k.state.Forgotten)
	}
}
