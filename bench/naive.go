package main

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// levels are three token buckets as somebody writes them by hand over a store: no line, no debts, no repeats recognised.
type levels struct {
	at                      int64 // Unix microseconds
	requests, tokens, daily float64
}

func newLevels() levels {
	return levels{time.Now().UnixMicro(), requestBurst - inUse, tokenBurst - inUse, requestBurst - inUse}
}

// take refills and takes requests and tokens (below 0, gives them back), or says that they don't fit.
func (l *levels) take(now time.Time, requests, tokens float64) bool {
	micros := now.UnixMicro()
	dt := float64(max(0, micros-l.at))
	l.at = max(l.at, micros)
	l.requests = min(requestBurst, l.requests+dt*requestsPerMinute/60e6)
	l.tokens = min(tokenBurst, l.tokens+dt*tokensPerMinute/60e6)
	l.daily = min(requestBurst, l.daily+dt*requestsPerDay/86400e6)
	if l.requests < requests || l.tokens < tokens || l.daily < requests {
		return false
	}
	l.requests -= requests
	l.tokens -= tokens
	l.daily -= requests
	return true
}

func (l levels) encode() []byte {
	b := make([]byte, 0, 32)
	b = binary.BigEndian.AppendUint64(b, uint64(l.at))
	for _, v := range [...]float64{l.requests, l.tokens, l.daily} {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

var errLevels = errors.New("levels that are not 32 bytes")

func decodeLevels(b []byte) (levels, error) {
	if len(b) != 32 {
		return levels{}, errLevels
	}
	number := func(i int) float64 { return math.Float64frombits(binary.BigEndian.Uint64(b[i:])) }
	return levels{int64(binary.BigEndian.Uint64(b)), number(8), number(16), number(24)}, nil
}
