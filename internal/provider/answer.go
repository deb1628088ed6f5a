package provider

import (
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// answer is what a model says to one request: it follows from the seed and what the request asks.
type answer struct {
	tokens   int64 // of each choice
	base     time.Duration
	perToken time.Duration
	seed     uint64
}

// compose decides the answer to a request, given by its hash, of at most most tokens in each of choices.
func (p *Provider) compose(body uint64, most, choices int64) answer {
	rng := rand.New(rand.NewPCG(p.cfg.Seed, body))
	o, l := p.cfg.Output, p.cfg.Latency
	share := o.Min + (o.Max-o.Min)*rng.Float64()
	tokens := min(max(1, int64(share*float64(most))), most, max(1, o.Cap/choices))
	stretch := 1 + l.Jitter*(2*rng.Float64()-1)
	return answer{
		tokens:   tokens,
		base:     time.Duration(stretch * float64(l.Base)),
		perToken: time.Duration(stretch * float64(l.PerToken)),
		seed:     rng.Uint64(),
	}
}

// words are one token each in the usual vocabularies, with the space before them.
var words = strings.Fields(`the of and to in that it was for on are as with they at be this have from or had by but some
what there we can out other were all your when up use word how said an each she which do their time if will way about many
then them would write like so these her long make thing see him two has look more day could go come did my no most number who
over know water than call first people may down side been now find any new work part take get place made live where after
back little only round man year came show every good me give our under name very through just form much great think say help`)

// text is the words from token first up to token end of a choice.
func (a answer) text(choice int, first, end int64) string {
	var b strings.Builder
	for i := first; i < end; i++ {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(words[mix(a.seed+uint64(choice)<<32+uint64(i))%uint64(len(words))])
	}
	return b.String()
}

// seen counts how often a body came, so that a retry draws a new fault.
type seen struct {
	mu    sync.Mutex
	times map[uint64]uint64
}

func (s *seen) next(body uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times == nil {
		s.times = map[uint64]uint64{}
	}
	s.times[body]++
	return s.times[body]
}

// fault is what happens to this request.
func (p *Provider) fault(header string, body uint64) (Fault, bool) {
	if header != "" {
		f := Fault(strings.ToLower(header))
		return f, f == FaultNone || isFault(f)
	}
	if len(p.cfg.Faults.Probability) == 0 {
		return FaultNone, true
	}
	return p.cfg.Faults.draw(rand.New(rand.NewPCG(p.cfg.Seed+p.seen.next(body), body))), true
}

// hashOfRequest tells what requests ask apart: the order of the fields and whether the answer is streamed don't count,
// so the same workload gets the same answers however it is run.
func hashOfRequest(body []byte) uint64 {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return hashOf(body)
	}
	delete(fields, "stream")
	delete(fields, "stream_options")
	sorted, err := json.Marshal(fields)
	if err != nil {
		return hashOf(body)
	}
	return hashOf(sorted)
}

func hashOf(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b) // never fails, says package hash
	return h.Sum64()
}

// mix is the finaliser of SplitMix64: neighbouring numbers come out unrelated.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
