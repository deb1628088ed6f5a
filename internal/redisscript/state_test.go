package redisscript

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// packed is a state of one bucket, as the script stores it, with a block and one place in line.
type packed struct {
	limit, per, burst, at, level, blocked, virtual, arrivals, span, cost float64
}

func sound() packed {
	return packed{limit: 60, per: 6e7, burst: 60, at: 1e15, level: -5, blocked: 1e15 + 1e6, virtual: 2, arrivals: 1, span: 3, cost: 10}
}

func (p packed) String() string {
	var b []byte
	doubles := func(vs ...float64) {
		for _, v := range vs {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	sizes := func(vs ...uint16) {
		for _, v := range vs {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	b = append(b, "tb\x01\x01"...)
	sizes(1)
	b = append(b, 'r')
	doubles(p.limit, p.per, p.burst)
	b = append(b, flagBlocked|flagLine)
	doubles(p.at, 0, 0, 0, p.level)
	b = append(b, 0) // batches
	doubles(p.blocked, p.virtual, p.arrivals, 1, 1)
	sizes(5, 4)
	doubles(0, 2, p.span, 0, 1e15, 1e15, 1e15, p.cost)
	b = append(b, "placeflow"...)
	sizes(4)
	doubles(5)
	b = append(b, "flow"...)
	return string(b)
}

// A state that the arithmetic can't have left must be an error: a NaN among the levels is neither enough nor too little
// for anything, and poisons whatever is computed from it.
func TestDecodeStateChecksValues(t *testing.T) {
	s, err := DecodeState(sound().String())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Line) != 1 || s.Buckets[0].Level != -5 || s.Line[0].Cost[0] != 10 || s.Flows[0].Name != "flow" {
		t.Fatalf("%s", s.Encode(nil))
	}
	nan, inf := math.NaN(), math.Inf(1)
	for name, spoil := range map[string]func(p *packed){
		"level NaN":              func(p *packed) { p.level = nan },
		"level infinite":         func(p *packed) { p.level = inf },
		"level minus infinite":   func(p *packed) { p.level = -inf },
		"level above the burst":  func(p *packed) { p.level = 61 },
		"limit NaN":              func(p *packed) { p.limit = nan },
		"limit negative":         func(p *packed) { p.limit = -1 },
		"limit 0":                func(p *packed) { p.limit = 0 },
		"limit infinite":         func(p *packed) { p.limit = inf },
		"burst NaN":              func(p *packed) { p.burst = nan },
		"burst 0":                func(p *packed) { p.burst = 0 },
		"period 0":               func(p *packed) { p.per = 0 },
		"period negative":        func(p *packed) { p.per = -6e7 },
		"instant negative":       func(p *packed) { p.at = -1 },
		"instant far away":       func(p *packed) { p.at = float64(bucket.MaxInstant) * 2 },
		"block negative":         func(p *packed) { p.blocked = -1 },
		"virtual time NaN":       func(p *packed) { p.virtual = nan },
		"arrivals below a place": func(p *packed) { p.arrivals = 0 },
		"span negative":          func(p *packed) { p.span = -1 },
		"span NaN":               func(p *packed) { p.span = nan },
		"cost NaN":               func(p *packed) { p.cost = nan },
		"cost negative":          func(p *packed) { p.cost = -1 },
		"cost infinite":          func(p *packed) { p.cost = inf },
	} {
		p := sound()
		spoil(&p)
		if s, err := DecodeState(p.String()); err == nil {
			t.Errorf("%s: read as %s", name, s.Encode(nil))
		} else if !strings.Contains(err.Error(), "the state can't be read") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
