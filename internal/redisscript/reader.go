package redisscript

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/tokenthrottle/throttle/bucket"
)

// reader takes values from a packed string. After the first that isn't there, all are zero and err is set.
type reader struct {
	left string
	err  error
}

func (r *reader) take(n int) string {
	if n < 0 || n > len(r.left) {
		if r.err == nil {
			r.err = errors.New("it ends too soon")
		}
		r.left = ""
		return ""
	}
	s := r.left[:n]
	r.left = r.left[n:]
	return s
}

func (r *reader) byte() int {
	if s := r.take(1); s != "" {
		return int(s[0])
	}
	return 0
}

func (r *reader) uint16() int {
	if s := r.take(2); s != "" {
		return int(binary.LittleEndian.Uint16([]byte(s)))
	}
	return 0
}

func (r *reader) uint32() int {
	if s := r.take(4); s != "" {
		return int(binary.LittleEndian.Uint32([]byte(s)))
	}
	return 0
}

func (r *reader) double() float64 {
	if s := r.take(8); s != "" {
		return math.Float64frombits(binary.LittleEndian.Uint64([]byte(s)))
	}
	return 0
}

func (r *reader) text() string { return r.take(r.uint16()) }

// micros reads an instant or a span; infinity is Forever.
func (r *reader) micros() bucket.Micros {
	v := r.double()
	switch {
	case math.IsInf(v, 1):
		return bucket.Forever
	case math.Abs(v) < 1<<53 && v == math.Trunc(v):
		return bucket.Micros(v)
	}
	r.fail("%v is no whole number of microseconds", v)
	return 0
}

// count reads a whole number from 0 that was packed as a double.
func (r *reader) count() int {
	v := r.double()
	if v >= 0 && v < 1<<31 && v == math.Trunc(v) {
		return int(v)
	}
	r.fail("%v is no number of things", v)
	return 0
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.left = ""
}

// finish returns the first error; what is left over is one.
func (r *reader) finish() error {
	if r.err == nil && r.left != "" {
		r.err = fmt.Errorf("%d bytes are left over", len(r.left))
	}
	return r.err
}
