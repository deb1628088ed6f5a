package provider

import (
	"errors"
	"fmt"
	"time"
)

// Estimate is how OpenAI's endpoints turn a request into tokens before it has run.
type Estimate int

const (
	// EstimateSum charges the prompt plus the largest possible answer.
	EstimateSum Estimate = iota
	// EstimateMax charges the larger of the two, as OpenAI's rate limit guide words it ("the maximum of max_tokens and
	// the estimated number of tokens based on the character count of your request").
	EstimateMax
)

// Config describes a provider. The zero value has no limits, answers at once and never fails.
type Config struct {
	// Models holds the limits of the models named in it. GET /v1/models lists them.
	Models map[string]Limits
	// Default holds the limits of every other model; each model has meters of its own.
	Default Limits
	// Minute is the length of the minute that limits are counted in; zero is a real minute. A day is 1,440 of them.
	// Headers always state real time.
	Minute time.Duration
	// Tolerance admits a request that is early by no more than this; zero is exact. See the package comment.
	Tolerance time.Duration
	// Estimate is the token charge of a request on OpenAI's endpoints.
	Estimate Estimate
	// ChargeRefused makes each refused request use up one request, as OpenAI's guide says of failed requests.
	ChargeRefused bool

	// Latency is how long answers take.
	Latency Latency
	// Output is how long answers are.
	Output Output
	// Count counts the tokens of a text; nil is a quarter of its bytes, rounded up.
	Count func(model, text string) int
	// Seed selects answers, jitter and faults. All three follow from it and what the request asks; whether the answer is
	// streamed and the order of the fields make no difference.
	Seed uint64
	// Faults are failures drawn at random. A request's own X-Simulate header comes first.
	Faults Faults

	// APIKey, when set, is the only key accepted, as "Authorization: Bearer" or "X-Api-Key".
	APIKey string
	// Organization is named in refusals; empty is "org-simulated".
	Organization string
	// EmbeddingDimensions is the length of embeddings where the request sets none; zero is 1,536.
	EmbeddingDimensions int
}

// Latency is how long an answer takes. The zero value answers at once.
type Latency struct {
	// Base is the time to the first token.
	Base time.Duration
	// PerToken is the time each further output token takes.
	PerToken time.Duration
	// Jitter, from 0 to 1, is the part of both by which a request may deviate up or down.
	Jitter float64
}

// Output is how long answers are: a share of the most the request allows. It follows from the seed and the request.
type Output struct {
	// Min and Max bound the share; both zero are 0.05 and 0.40.
	Min, Max float64
	// DefaultMax is the most output tokens of a request that sets no maximum; zero is 1,024.
	DefaultMax int64
	// Cap bounds every answer, all its choices together, whatever the request allows; zero is 32,768 tokens.
	Cap int64
	// Chunk is the number of tokens in one streamed event; zero is 4.
	Chunk int
}

const (
	defaultMaxOutput  = 1024
	defaultCapOutput  = 32768
	defaultChunk      = 4
	defaultDimensions = 1536
)

// withDefaults checks cfg and fills in what is zero.
func (cfg Config) withDefaults() (Config, error) {
	errs := []error{cfg.Default.check(), cfg.Faults.check()}
	for model, l := range cfg.Models {
		if err := l.check(); err != nil {
			errs = append(errs, fmt.Errorf("model %q: %w", model, err))
		}
	}
	if cfg.Minute < 0 || cfg.Tolerance < 0 || cfg.Latency.Base < 0 || cfg.Latency.PerToken < 0 {
		errs = append(errs, errors.New("provider: Minute, Tolerance and Latency must not be negative"))
	}
	if cfg.Latency.Jitter < 0 || cfg.Latency.Jitter > 1 {
		errs = append(errs, fmt.Errorf("provider: Latency.Jitter is %v: use a part between 0 and 1", cfg.Latency.Jitter))
	}
	if o := cfg.Output; o.Min < 0 || o.Max < o.Min || o.Max > 1 || o.DefaultMax < 0 || o.Cap < 0 || o.Chunk < 0 {
		errs = append(errs, fmt.Errorf("provider: Output is %+v: use 0 ≤ Min ≤ Max ≤ 1 and nothing negative", o))
	}
	if err := errors.Join(errs...); err != nil {
		return cfg, err
	}
	if cfg.Minute == 0 {
		cfg.Minute = time.Minute
	}
	if cfg.Output.Max == 0 {
		cfg.Output.Min, cfg.Output.Max = 0.05, 0.40
	}
	setDefault(&cfg.Output.DefaultMax, defaultMaxOutput)
	setDefault(&cfg.Output.Cap, defaultCapOutput)
	setDefault(&cfg.Output.Chunk, defaultChunk)
	setDefault(&cfg.EmbeddingDimensions, defaultDimensions)
	setDefault(&cfg.Organization, "org-simulated")
	if cfg.Count == nil {
		cfg.Count = quarterOfBytes
	}
	cfg.Faults = cfg.Faults.withDefaults()
	return cfg, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// quarterOfBytes is the rule of thumb for English text: four characters a token.
func quarterOfBytes(_, text string) int { return (len(text) + 3) / 4 }
