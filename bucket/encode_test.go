package bucket_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// crowded is a state with something in every field, and names that need escaping.
func crowded(t testing.TB) *bucket.State {
	t.Helper()
	limits := mustLimits(t, tokens(), bucket.Quota{Resource: `requests "paid\"`, Limit: 1.0 / 3, Per: bucket.Day, Burst: 70})
	s := new(bucket.State)
	apply := func(now bucket.Micros, batch string, ops ...bucket.Op) {
		s.Apply(now, &bucket.Request{Limits: limits, Ops: ops, Batch: batch}, make([]bucket.Result, len(ops)))
	}
	for i := range bucket.MaxBatches + 1 {
		apply(epoch, fmt.Sprintf("client %d/1", i), take(0.1, 1))
	}
	apply(epoch+1, "", bucket.Op{Kind: bucket.SetLimit, Quota: 1, Limit: 900.5, Burst: 1000}, bucket.Op{Kind: bucket.Block, Span: minute})
	apply(epoch+2, "", inFlow("größe", line(`a "b" \c`, 0.3, 100)), line("second", 1, 2), inFlow("", line("third", 0, 1e-9)))
	apply(epoch+3, "", inFlow("größe", bucket.Op{Kind: bucket.Record, Cost: []float64{1e-300, 5000}}), inFlow("größe", credit(0, 4000)))
	return s
}

func TestEncodeRoundTrip(t *testing.T) {
	s := crowded(t)
	text := s.Encode(nil)
	var got bucket.State
	if err := got.Decode(text); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if want := s.Clone(); fmt.Sprintf("%#v", want.Line) != fmt.Sprintf("%#v", got.Line) || !reflect.DeepEqual(want.Flows, got.Flows) ||
		!reflect.DeepEqual(want.Batches, got.Batches) || !reflect.DeepEqual(want.Buckets, got.Buckets) ||
		want.At != got.At || want.Blocked != got.Blocked || want.Forgotten != got.Forgotten || want.Virtual != got.Virtual || want.Arrivals != got.Arrivals {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again := got.Encode(nil); string(again) != string(text) {
		t.Errorf("encoded again:\n%s\n%s", again, text)
	}
}

func TestEncodeAppends(t *testing.T) {
	var s bucket.State
	if got, want := string(s.Encode([]byte("x"))), `x{"version":1,"at":0,"buckets":[]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEncodeKeepsEveryBit(t *testing.T) {
	for _, level := range []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 1.0 / 3, 5e-324, -5e-324, 1e15, -1e15, 1e15 - 0.125, 999999999999999.9, -1e300, math.Nextafter(1, 2), 123456.789} {
		s := bucket.State{Buckets: []bucket.Bucket{{Quota: bucket.Quota{Resource: "x", Limit: 1e15, Per: 1, Burst: 1e15}, Level: level}}}
		var got bucket.State
		if err := got.Decode(s.Encode(nil)); err != nil {
			t.Fatalf("%v: %v", level, err)
		}
		if math.Float64bits(got.Buckets[0].Level) != math.Float64bits(level) {
			t.Errorf("got %v, want %v", got.Buckets[0].Level, level)
		}
	}
}

func TestDecodeRefusesOtherVersions(t *testing.T) {
	for text, version := range map[string]int64{
		`{"version":2,"at":0,"buckets":[]}`: 2, `{"version":0}`: 0, `{"version":-7}`: -7, `{"version":99,"whatever":[{`: 99,
	} {
		var s bucket.State
		var e *bucket.VersionError
		if err := s.Decode([]byte(text)); !errors.As(err, &e) || e.Version != version || !strings.Contains(err.Error(), "upgrade") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(crowded(t).Encode(nil))
	small := `{"version":1,"at":5,"buckets":[{"resource":"x","per":1,"limit":2,"burst":2,"level":1}]}`
	waiting := `{"version":1,"at":5,"buckets":[{"resource":"x","per":1,"limit":2,"burst":2,"level":1}],"line":[` +
		`{"id":"a","flow":"","priority":0,"start":0,"span":1,"arrival":0,"cost":[2],"since":5,"due":6,"lease":7},` +
		`{"id":"b","flow":"f","priority":0,"start":1,"span":1,"arrival":1,"cost":[1],"since":5,"due":6,"lease":7}],` +
		`"arrivals":2,"virtual":0,"flows":[{"name":"","finish":1},{"name":"f","finish":2}],"batches":[{"id":"c/1","at":4,"effects":"01"}],"forgotten":3}`
	for _, text := range []string{small, waiting} {
		if err := new(bucket.State).Decode([]byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	swap := func(text, old, new string) string {
		t.Helper()
		if strings.Count(text, old) != 1 {
			t.Fatalf("%q is in %s %d times", old, text, strings.Count(text, old))
		}
		return strings.Replace(text, old, new, 1)
	}
	for name, text := range map[string]string{
		"nothing":                ``,
		"no JSON":                `hello`,
		"other JSON":             `{"at":5,"buckets":[]}`,
		"an array":               `[1]`,
		"trailing data":          small + " ",
		"two states":             small + small,
		"unknown field":          swap(small, `"buckets"`, `"colour":1,"buckets"`),
		"unknown field at end":   swap(small, `}]}`, `}],"colour":1}`),
		"field twice":            swap(small, `"at":5`, `"at":5,"at":5`),
		"blanks":                 swap(small, `,"at"`, `, "at"`),
		"at negative":            swap(small, `"at":5`, `"at":-1`),
		"at too late":            swap(small, `"at":5`, `"at":8000000000000001`),
		"at beyond 64 bits":      swap(small, `"at":5`, `"at":9223372036854775808`),
		"at a fraction":          swap(small, `"at":5`, `"at":5.0`),
		"at a string":            swap(small, `"at":5`, `"at":"5"`),
		"at octal":               swap(small, `"at":5`, `"at":05`),
		"at plus":                swap(small, `"at":5`, `"at":+5`),
		"blocked negative":       swap(small, `"at":5`, `"at":5,"blocked_until":-1`),
		"blocked too long":       swap(small, `"at":5`, `"at":5,"blocked_until":9000000000000000`),
		"level NaN":              swap(small, `"level":1`, `"level":NaN`),
		"level null":             swap(small, `"level":1`, `"level":null`),
		"level overflows":        swap(small, `"level":1`, `"level":-1e999`),
		"level hexadecimal":      swap(small, `"level":1`, `"level":0x1p3`),
		"level underscore":       swap(small, `"level":1`, `"level":1_0`),
		"level above the burst":  swap(small, `"level":1`, `"level":2.5`),
		"level with a bare dot":  swap(small, `"level":1`, `"level":1.`),
		"level bare exponent":    swap(small, `"level":1`, `"level":1e`),
		"limit 0":                swap(small, `"limit":2`, `"limit":0`),
		"limit huge":             swap(small, `"limit":2`, `"limit":1e16`),
		"burst 0":                swap(small, `"burst":2`, `"burst":0`),
		"period 0":               swap(small, `"per":1`, `"per":0`),
		"no resource":            swap(small, `"resource":"x"`, `"resource":""`),
		"control character":      swap(small, `"resource":"x"`, "\"resource\":\"\x01\""),
		"not UTF-8":              swap(small, `"resource":"x"`, "\"resource\":\"\xff\""),
		"unknown escape":         swap(small, `"resource":"x"`, `"resource":"\n"`),
		"endless string":         `{"version":1,"at":5,"buckets":[{"resource":"x`,
		"endless escape":         `{"version":1,"at":5,"buckets":[{"resource":"x\`,
		"long resource":          swap(small, `"resource":"x"`, `"resource":"`+strings.Repeat("x", 300)+`"`),
		"the same bucket twice":  swap(small, `}]`, `},{"resource":"x","per":1,"limit":2,"burst":2,"level":1}]`),
		"buckets out of order":   swap(small, `}]`, `},{"resource":"a","per":1,"limit":2,"burst":2,"level":1}]`),
		"override negative":      swap(small, `"level":1`, `"level":1,"over_limit":-1,"over_burst":1`),
		"override without limit": swap(small, `"level":1`, `"level":1,"over_limit":0,"over_burst":1`),
		"no costs":               swap(waiting, `"cost":[2]`, `"cost":[]`),
		"too many costs":         swap(waiting, `"cost":[2]`, `"cost":[2,2]`),
		"cost negative":          swap(waiting, `"cost":[2]`, `"cost":[-2]`),
		"cost huge":              swap(waiting, `"cost":[2]`, `"cost":[1e16]`),
		"place twice":            swap(waiting, `"id":"b"`, `"id":"a"`),
		"place without a name":   swap(waiting, `"id":"b"`, `"id":""`),
		"places out of order":    swap(waiting, `"start":0`, `"start":2`),
		"flow":                   swap(waiting, `"flow":"f"`, "\"flow\":\"\x02\""),
		"priority of 64 bits":    swap(waiting, `"id":"a","flow":"","priority":0`, `"id":"a","flow":"","priority":2147483648`),
		"start huge":             swap(waiting, `"start":1`, `"start":1e200`),
		"span negative":          swap(waiting, `"start":0,"span":1`, `"start":0,"span":-1`),
		"arrival twice":          swap(waiting, `"arrival":1`, `"arrival":0`),
		"arrival to come":        swap(waiting, `"arrival":1`, `"arrival":2`),
		"arrivals huge":          swap(waiting, `"arrivals":2`, `"arrivals":9007199254740993`),
		"lease before due":       swap(waiting, `"cost":[2],"since":5,"due":6,"lease":7`, `"cost":[2],"since":5,"due":6,"lease":5`),
		"lease too late":         swap(waiting, `"cost":[2],"since":5,"due":6,"lease":7`, `"cost":[2],"since":5,"due":6,"lease":9000000000000000`),
		"since negative":         swap(waiting, `"cost":[2],"since":5`, `"cost":[2],"since":-5`),
		"virtual negative":       swap(waiting, `"virtual":0`, `"virtual":-1`),
		"tag twice":              swap(waiting, `"name":"f"`, `"name":""`),
		"tag huge":               swap(waiting, `"finish":2`, `"finish":1e101`),
		"tags without a line":    `{"version":1,"at":5,"buckets":[],"line":[],"arrivals":0,"virtual":3,"flows":[]}`,
		"batch without a name":   swap(waiting, `"id":"c/1"`, `"id":""`),
		"batch's effects":        swap(waiting, `"effects":"01"`, `"effects":"02"`),
		"batch too late":         swap(waiting, `"at":4`, `"at":8000000000000001`),
		"client twice":           swap(waiting, `"batches":[`, `"batches":[{"id":"c/0","at":4,"effects":""},`),
		"forgotten negative":     swap(waiting, `"forgotten":3`, `"forgotten":-3`),
		"too many batches":       swap(good, `"batches":[`, `"batches":[{"id":"extra","at":1,"effects":""},`),
	} {
		s := bucket.State{At: 77}
		err := s.Decode([]byte(text))
		if err == nil {
			t.Errorf("%s: accepted %s", name, text)
		} else if !strings.HasPrefix(err.Error(), "bucket: state") {
			t.Errorf("%s: %v", name, err)
		}
		if s.At != 77 {
			t.Errorf("%s: an error changed the state", name)
		}
	}
	for n := range len(good) {
		if err := new(bucket.State).Decode([]byte(good[:n])); err == nil {
			t.Errorf("cut after %d bytes: accepted", n)
		}
	}
}
