// Package vectors reads and writes golden vectors of the arithmetic: sequences of requests with what must come of them,
// bit for bit. bucket/testdata/vectors.json is what Go's bucket package computes; every port of it is run against the
// same file.
//
// The file is one JSON object. Each vector starts from an absent key and has steps; each step is one request, applied at
// the instant now, with the results and the state after it in the encoding of docs/state-encoding.md. Fields that are
// left out are zero; limits that are left out are those of the step before, null is a request without limits. Numbers
// that JSON has no word for are the strings "NaN", "Infinity" and "-Infinity".
package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"

	"github.com/tokenthrottle/throttle/bucket"
)

// Vector is a sequence of requests on one key.
type Vector struct {
	Name  string `json:"name"`
	Steps []Step `json:"steps"`
}

// Step is a request and what must come of it.
type Step struct {
	Now    bucket.Micros   `json:"now"`
	Limits *[]Quota        `json:"limits"` // nil: none
	Batch  string          `json:"batch,omitempty"`
	Retry  bool            `json:"retry,omitempty"`
	Since  bucket.Micros   `json:"since,omitempty"`
	Ops    []Op            `json:"ops"`
	Want   []Result        `json:"results"`
	State  json.RawMessage `json:"state"`
	Absent bucket.Micros   `json:"absent_at"`
}

// Quota is a bucket.Quota.
type Quota struct {
	Resource string        `json:"resource"`
	Limit    Number        `json:"limit"`
	Per      bucket.Micros `json:"per"`
	Burst    Number        `json:"burst,omitempty"`
}

// Op is a bucket.Op.
type Op struct {
	Kind     string        `json:"kind"`
	Cost     []Number      `json:"cost,omitempty"`
	Place    string        `json:"place,omitempty"`
	Priority int32         `json:"priority,omitempty"`
	Flow     string        `json:"flow,omitempty"`
	Weight   Number        `json:"weight,omitempty"`
	Poll     bucket.Micros `json:"poll,omitempty"`
	Grace    bucket.Micros `json:"grace,omitempty"`
	After    bool          `json:"after,omitempty"`
	Quota    int           `json:"quota,omitempty"`
	Limit    Number        `json:"limit,omitempty"`
	Burst    Number        `json:"burst,omitempty"`
	Level    Number        `json:"level,omitempty"`
	Span     bucket.Micros `json:"span,omitempty"`
}

// Result is a bucket.Result; State is Peek's, encoded.
type Result struct {
	Status     string          `json:"status"`
	Quota      int             `json:"quota,omitempty"`
	RetryAfter bucket.Micros   `json:"retry_after,omitempty"`
	Place      int             `json:"place,omitempty"`
	State      json.RawMessage `json:"state,omitempty"`
}

// Number is a float64 that may be what JSON can't say.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	switch {
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	case math.IsInf(f, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Infinity"`), nil
	}
	return json.Marshal(f)
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(text []byte) error {
	f, err := strconv.ParseFloat(string(bytes.Trim(text, `"`)), 64)
	if err != nil {
		return fmt.Errorf("vectors: number %s: %w", text, err)
	}
	*n = Number(f)
	return nil
}

// Load reads a file of vectors.
func Load(path string) ([]Vector, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		About   []string
		Vectors []struct {
			Name  string
			Steps []json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	vectors := make([]Vector, len(file.Vectors))
	for i, v := range file.Vectors {
		vectors[i].Name = v.Name
		var limits *[]Quota
		for k, text := range v.Steps {
			var step Step
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(&step); err != nil {
				return nil, fmt.Errorf("%s: %s, step %d: %w", path, v.Name, k, err)
			}
			if !bytes.Contains(text, []byte(`"limits":`)) {
				step.Limits = limits
			}
			limits = step.Limits
			vectors[i].Steps = append(vectors[i].Steps, step)
		}
	}
	return vectors, nil
}

// Save writes vectors, a step a line, so that a change shows in a diff as the steps it changes.
func Save(path string, about []string, vectors []Vector) error {
	var out bytes.Buffer
	head, err := json.MarshalIndent(about, "", " ")
	if err != nil {
		return err
	}
	fmt.Fprintf(&out, "{\"about\": %s,\n\"vectors\": [", head)
	for i, v := range vectors {
		if i > 0 {
			out.WriteString(",")
		}
		fmt.Fprintf(&out, "\n{\"name\": %q, \"steps\": [", v.Name)
		var limits []byte
		for k := range v.Steps {
			line, err := v.Steps[k].line(&limits)
			if err != nil {
				return fmt.Errorf("vectors: %s, step %d: %w", v.Name, k, err)
			}
			if k > 0 {
				out.WriteString(",")
			}
			out.WriteString("\n")
			out.Write(line)
		}
		out.WriteString("]}")
	}
	out.WriteString("\n]}\n")
	return os.WriteFile(path, out.Bytes(), 0o666)
}

// line is a step without the limits that it shares with the one before.
func (s *Step) line(last *[]byte) ([]byte, error) {
	limits, err := marshal(s.Limits)
	if err != nil {
		return nil, err
	}
	line, err := marshal(s)
	if err != nil {
		return nil, err
	}
	if *last != nil && bytes.Equal(limits, *last) {
		line = bytes.Replace(line, append([]byte(`"limits":`), append(limits, ',')...), nil, 1)
	}
	*last = limits
	return line, nil
}

// marshal leaves <, > and & as they are, as the encoding of states does.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Request is what the step applies.
func (s *Step) Request() (*bucket.Request, error) {
	r := &bucket.Request{Batch: s.Batch, Retry: s.Retry, Since: s.Since}
	if s.Limits != nil {
		quotas := make([]bucket.Quota, len(*s.Limits))
		for i, q := range *s.Limits {
			quotas[i] = bucket.Quota{Resource: q.Resource, Limit: float64(q.Limit), Per: q.Per, Burst: float64(q.Burst)}
		}
		l, err := bucket.NewLimits(quotas...)
		if err != nil {
			return nil, err
		}
		r.Limits = l
	}
	for _, o := range s.Ops {
		op := bucket.Op{
			Place: o.Place, Priority: o.Priority, Flow: o.Flow, Weight: float64(o.Weight), Poll: o.Poll, Grace: o.Grace, After: o.After,
			Quota: o.Quota, Limit: float64(o.Limit), Burst: float64(o.Burst), Level: float64(o.Level), Span: o.Span,
		}
		for k := bucket.Acquire; k.String() != "invalid"; k++ {
			if k.String() == o.Kind {
				op.Kind = k
			}
		}
		for _, c := range o.Cost {
			op.Cost = append(op.Cost, float64(c))
		}
		r.Ops = append(r.Ops, op)
	}
	return r, nil
}

// ResultsOf is how results are written in a vector.
func ResultsOf(results []bucket.Result) []Result {
	out := make([]Result, len(results))
	for i, r := range results {
		out[i] = Result{Status: r.Status.String(), Quota: r.Quota, RetryAfter: r.RetryAfter, Place: r.Place}
		if r.State != nil {
			out[i].State = r.State.Encode(nil)
		}
	}
	return out
}
