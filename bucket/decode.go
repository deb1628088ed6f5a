package bucket

import (
	"fmt"
	"strconv"
	"strings"
)

// Decode replaces the state with an encoded one. It returns a [*VersionError] for another version, and an error that
// says what is wrong, and where, for anything that Encode can't have written; the state is then unchanged.
//
// What it accepts is safe to apply whatever there is in it: no later operation overflows, hangs or panics.
func (s *State) Decode(text []byte) error {
	d := decoder{text: string(text)}
	d.want(`{"version":`)
	if version := d.integer(); d.err == nil && version != EncodingVersion {
		return &VersionError{version}
	}
	n := d.state()
	d.want(`}`)
	if d.err == nil && d.at < len(d.text) {
		d.fail("the end")
	}
	if d.err != nil {
		return d.err
	}
	if err := n.check(); err != nil {
		return err
	}
	*s = n
	return nil
}

// decoder reads exactly the JSON that Encode writes: fields in its order, no blanks. The first error sticks, and after
// it everything reads as nothing.
type decoder struct {
	text string
	at   int
	err  error
}

func (d *decoder) fail(want string) {
	if d.err == nil {
		d.err = fmt.Errorf("bucket: state, byte %d: want %s, found %.20q", d.at, want, d.text[d.at:])
	}
}

// has consumes token if it comes next.
func (d *decoder) has(token string) bool {
	if d.err != nil || !strings.HasPrefix(d.text[d.at:], token) {
		return false
	}
	d.at += len(token)
	return true
}

func (d *decoder) want(token string) {
	if !d.has(token) {
		d.fail(token)
	}
}

// more says whether a list of which n elements were read goes on.
func (d *decoder) more(n int) bool {
	if d.err != nil || d.has(`]`) {
		return false
	}
	if n > 0 {
		d.want(`,`)
	}
	return d.err == nil
}

// string reads a quoted name; without escapes it shares the text's memory.
func (d *decoder) string() string {
	d.want(`"`)
	if d.err != nil {
		return ""
	}
	rest := d.text[d.at:]
	n := strings.IndexAny(rest, `"\`)
	if n < 0 {
		d.fail("a string that ends")
		return ""
	}
	if rest[n] == '"' {
		d.at += n + 1
		return rest[:n]
	}
	var b strings.Builder
	for d.at < len(d.text) {
		c := d.text[d.at]
		switch {
		case c == '"':
			d.at++
			return b.String()
		case c == '\\':
			d.at++
			if d.at == len(d.text) || d.text[d.at] != '"' && d.text[d.at] != '\\' {
				d.fail(`" or \`)
				return ""
			}
			c = d.text[d.at]
		}
		b.WriteByte(c)
		d.at++
	}
	d.fail("a string that ends")
	return ""
}

// digits consumes decimal digits, of which there must be at least one.
func (d *decoder) digits() {
	start := d.at
	for d.at < len(d.text) && '0' <= d.text[d.at] && d.text[d.at] <= '9' {
		d.at++
	}
	if d.at == start {
		d.fail("a digit")
	}
}

// whole consumes the integer part of a number and returns where it began.
func (d *decoder) whole() int {
	start := d.at
	d.has("-")
	if !d.has("0") {
		d.digits()
	}
	return start
}

func (d *decoder) integer() int64 {
	start := d.whole()
	if d.err != nil {
		return 0
	}
	i, err := strconv.ParseInt(d.text[start:d.at], 10, 64)
	if err != nil {
		d.at = start
		d.fail("an integer of 64 bits")
	}
	return i
}

func (d *decoder) micros() Micros { return Micros(d.integer()) }

func (d *decoder) number() float64 {
	start := d.whole()
	if d.has(".") {
		d.digits()
	}
	if d.has("e") {
		if !d.has("+") {
			d.has("-")
		}
		d.digits()
	}
	if d.err != nil {
		return 0
	}
	f, err := strconv.ParseFloat(d.text[start:d.at], 64)
	if err != nil {
		d.at = start
		d.fail("a finite number")
	}
	return f
}

func (d *decoder) state() (s State) {
	d.want(`,"at":`)
	s.At = d.micros()
	if d.has(`,"blocked_until":`) {
		s.Blocked = d.micros()
	}
	if d.has(`,"kept_until":`) {
		s.Kept = d.micros()
	}
	d.want(`,"buckets":[`)
	for d.more(len(s.Buckets)) {
		s.Buckets = append(s.Buckets, d.bucket())
	}
	if d.has(`,"line":[`) {
		d.line(&s)
	}
	if d.has(`,"batches":[`) {
		for d.more(len(s.Batches)) {
			var b Batch
			d.want(`{"id":`)
			b.ID = d.string()
			d.want(`,"at":`)
			b.At = d.micros()
			d.want(`,"effects":`)
			b.Effects = d.string()
			d.want(`}`)
			s.Batches = append(s.Batches, b)
		}
	}
	if d.has(`,"forgotten":`) {
		s.Forgotten = d.micros()
	}
	return s
}

func (d *decoder) bucket() (b Bucket) {
	d.want(`{"resource":`)
	b.Resource = d.string()
	d.want(`,"per":`)
	b.Per = d.micros()
	d.want(`,"limit":`)
	b.Limit = d.number()
	d.want(`,"burst":`)
	b.Burst = d.number()
	d.want(`,"level":`)
	b.Level = d.number()
	if d.has(`,"over_limit":`) {
		b.OverLimit = d.number()
		d.want(`,"over_burst":`)
		b.OverBurst = d.number()
	}
	d.want(`}`)
	return b
}

func (d *decoder) line(s *State) {
	for d.more(len(s.Line)) {
		s.Line = append(s.Line, d.place(len(s.Buckets)))
	}
	d.want(`,"arrivals":`)
	s.Arrivals = d.integer()
	d.want(`,"virtual":`)
	s.Virtual = d.number()
	d.want(`,"flows":[`)
	for d.more(len(s.Flows)) {
		var f Flow
		d.want(`{"name":`)
		f.Name = d.string()
		d.want(`,"finish":`)
		f.Finish = d.number()
		d.want(`}`)
		s.Flows = append(s.Flows, f)
	}
}

func (d *decoder) place(buckets int) (p Place) {
	d.want(`{"id":`)
	p.ID = d.string()
	d.want(`,"flow":`)
	p.Flow = d.string()
	d.want(`,"priority":`)
	priority := d.integer()
	p.Priority = int32(priority)
	if int64(p.Priority) != priority {
		d.fail("a priority of 32 bits before this")
	}
	d.want(`,"start":`)
	p.Start = d.number()
	d.want(`,"span":`)
	p.Span = d.number()
	d.want(`,"arrival":`)
	p.Arrival = d.integer()
	d.want(`,"cost":[`)
	p.Cost = make([]float64, 0, buckets)
	for d.more(len(p.Cost)) {
		p.Cost = append(p.Cost, d.number())
	}
	d.want(`,"since":`)
	p.Since = d.micros()
	d.want(`,"due":`)
	p.Due = d.micros()
	d.want(`,"lease":`)
	p.Lease = d.micros()
	d.want(`}`)
	return p
}
