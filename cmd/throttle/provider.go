package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/internal/report"
	"github.com/tokenthrottle/throttle/openai"
)

type providerCommand struct {
	Listen string        `default:"127.0.0.1:0" placeholder:"ADDR" help:"Address to listen on. Default: a free port of 127.0.0.1."`
	RPM    int64         `name:"rpm" placeholder:"N" help:"Requests a minute and model. Default: no limit."`
	TPM    int64         `name:"tpm" placeholder:"N" help:"Tokens a minute and model. Default: no limit."`
	RPD    int64         `name:"rpd" placeholder:"N" help:"Requests a day and model. Default: no limit."`
	TPD    int64         `name:"tpd" placeholder:"N" help:"Tokens a day and model. Default: no limit."`
	Minute time.Duration `default:"1m" placeholder:"D" help:"How long the minute is that limits are counted in; a day is 1440 of them. Default: ${default}."`

	Latency  time.Duration `default:"300ms" placeholder:"D" help:"Time to an answer's first token. Default: ${default}."`
	PerToken time.Duration `default:"300us" placeholder:"D" help:"Time for each further token. Default: ${default}."`
	Jitter   float64       `default:"0.5" placeholder:"PART" help:"Part of both by which an answer may deviate. Default: ${default}."`

	Fault      map[string]float64 `placeholder:"NAME=PART" help:"Spoil that part of the requests at random: 429, quota, 500, 503, 529, slow, cut or malformed. May be given several times."`
	RetryAfter time.Duration      `default:"1s" placeholder:"D" help:"What a 429 of --fault asks to wait. Default: ${default}."`
	SlowBy     time.Duration      `default:"2s" placeholder:"D" help:"How much longer a slow answer takes. Default: ${default}."`
	Seed       uint64             `default:"1" placeholder:"N" help:"Selects answers and faults, which follow from it and the request. Default: ${default}."`
	APIKey     string             `name:"api-key" placeholder:"KEY" help:"The only key accepted. Default: any, or none."`
}

// Help is shown by --help.
func (providerCommand) Help() string {
	return `A simulated LLM API for trying limiters and clients: OpenAI's chat completions, responses, completions and embeddings, and
Anthropic's messages, with their rate limits, headers and errors. What it counted is at GET /debug/stats. A request's header
"X-Simulate: NAME" orders a fault. It prints its URL on a line of standard output and runs until it is interrupted.

Exit codes: 0 interrupted, 2 wrong usage, 4 failed.`
}

func (c *providerCommand) config() provider.Config {
	cfg := provider.Config{
		Default: provider.Limits{RequestsPerMinute: c.RPM, TokensPerMinute: c.TPM, RequestsPerDay: c.RPD, TokensPerDay: c.TPD},
		Minute:  c.Minute,
		Latency: provider.Latency{Base: c.Latency, PerToken: c.PerToken, Jitter: c.Jitter},
		Count:   openai.Tiktoken{}.Count,
		Seed:    c.Seed,
		Faults:  provider.Faults{RetryAfter: c.RetryAfter, SlowBy: c.SlowBy, Probability: map[provider.Fault]float64{}},
		APIKey:  c.APIKey,
	}
	for name, part := range c.Fault {
		cfg.Faults.Probability[provider.Fault(name)] = part
	}
	return cfg
}

// check looks at what package provider would complain of by other names, or take for its own default.
func (c *providerCommand) check() error {
	for _, n := range []struct {
		flag  string
		value int64
	}{{"rpm", c.RPM}, {"tpm", c.TPM}, {"rpd", c.RPD}, {"tpd", c.TPD}} {
		if n.value < 0 {
			return usageError("--%s is %d: want 0 or more; 0 is no limit", n.flag, n.value)
		}
	}
	if c.Minute <= 0 {
		return usageError("--minute is %v: want more than 0", c.Minute)
	}
	return nil
}

// Run runs the command.
func (c *providerCommand) Run(p *program) error {
	if err := c.check(); err != nil {
		return err
	}
	api, err := provider.New(c.config())
	if err != nil {
		return &exit{exitUsage, err}
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return &exit{exitUsage, err}
	}
	ctx, stop := signal.NotifyContext(p.ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Handler: api, ReadHeaderTimeout: time.Minute}
	fmt.Fprintf(p.stdout, "http://%s\n", listener.Addr())
	fmt.Fprintln(p.stderr, "Simulated provider: what it counts is at /debug/stats. Interrupt to end it.")
	if err := serve(ctx, server, listener); err != nil {
		return err
	}
	p.providerStats(api)
	return nil
}

// providerStats says what was counted.
func (p *program) providerStats(api *provider.Provider) {
	all := api.Stats()
	models := make([]string, 0, len(all))
	for name := range all {
		models = append(models, name)
	}
	slices.Sort(models)
	t := report.Table{Columns: []report.Column{
		{Title: "model"}, {Title: "accepted", Right: true}, {Title: "429s", Right: true}, {Title: "tokens used", Right: true},
	}}
	for _, name := range models {
		s := all[name]
		t.Rows = append(t.Rows, []string{
			name, report.Whole(s.Accepted), report.Whole(s.Rejected()), report.Whole(s.Used.Tokens + s.Used.InputTokens + s.Used.OutputTokens),
		})
	}
	if len(t.Rows) > 0 {
		fmt.Fprint(p.stderr, t.Render(p.look(p.stderr).style))
	}
}
