// Command throttle shows what the library does, runs batches of requests under the limits of an LLM API, and looks into
// the stores that limiters share.
//
//	throttle demo                     the same work three ways, against a simulated provider
//	throttle batch IN.jsonl OUT.jsonl run a file of requests, in the format of OpenAI's Batch API
//	throttle status --store URL       levels, limits and who waits
//	throttle top --store URL          the same in the terminal, live
//	throttle serve --store URL        the same as a page in the browser, live
//	throttle provider                 run the simulated provider alone
//	throttle completion SHELL         what makes bash, zsh or fish complete all this
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/demo"
	"github.com/tokenthrottle/throttle/openai"
)

// Exit codes; docs/commands.md explains them.
const (
	exitOK          = 0
	exitIncomplete  = 1 // done, but not all of it succeeded
	exitUsage       = 2 // the command line is wrong
	exitRefused     = 3 // the provider accepts nothing from this account
	exitFailed      = 4 // something broke: it may go better another time
	exitInterrupted = 130
)

// command is the command line.
type command struct {
	Demo     demoCommand     `cmd:"" help:"Send one workload three ways through a simulated LLM API, and compare."`
	Batch    batchCommand    `cmd:"" help:"Run a file of requests, in the format of OpenAI's Batch API, as fast as the limits allow."`
	Status   statusCommand   `cmd:"" help:"Show the levels, limits and waiting line of every family in a store."`
	Top      topCommand      `cmd:"" help:"Show what a store holds in the terminal, live."`
	Serve    serveCommand    `cmd:"" help:"Show what a store holds as a page in the browser, live."`
	Provider providerCommand `cmd:"" help:"Run the simulated LLM API alone."`

	Completion completionCommand `cmd:"" help:"Print what makes a shell complete commands and options."`

	DemoWorker workerCommand `cmd:"" hidden:"" help:"A worker process of the demo."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// program is what commands have of the world.
type program struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// exit is an error that says how the process is to end. An empty message has been said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func main() {
	p := &program{context.Background(), os.Stdin, os.Stdout, os.Stderr, os.Getenv}
	os.Exit(p.run(os.Args[1:]))
}

// run runs the command line and returns the exit code.
func (p *program) run(args []string) int {
	var cli command
	exited := -1
	parser, err := kong.New(&cli,
		kong.Name("throttle"),
		kong.Description("Keep LLM calls under their rate limits: reserve, call, settle.\n\n"+
			"Run \"throttle COMMAND --help\" for a command's options and exit codes."),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.Vars{
			"version": "throttle " + version(), "stores": storeHelp,
			"burst": fmt.Sprint(openai.DefaultBurst), "inflight": fmt.Sprint(mostInFlight),
			"batch": fmt.Sprint(demo.BatchLimiters),
		},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		panic(err) // a mistake in the struct tags
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(joinNegative(args))
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "throttle: %v\nTry \"%s --help\".\n", err, attempted(err))
		return exitUsage
	}
	return p.code(parsed.Run(p, parsed))
}

// attempted is the command that a line which can't be understood is about, as far as it was.
func attempted(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		if node := p.Context.Selected(); node != nil {
			return "throttle " + node.Name
		}
	}
	return "throttle"
}

// joinNegative writes "--rpm -1" as "--rpm=-1": the parser takes what begins with a hyphen for an option.
func joinNegative(args []string) []string {
	var out []string
	for _, a := range args {
		if n := len(out); n > 0 && strings.HasPrefix(out[n-1], "--") && out[n-1] != "--" && !strings.Contains(out[n-1], "=") && !slices.Contains(out, "--") {
			if _, err := strconv.ParseFloat(a, 64); err == nil && strings.HasPrefix(a, "-") {
				out[n-1] += "=" + a
				continue
			}
		}
		out = append(out, a)
	}
	return out
}

// code says what went wrong and turns it into an exit code.
func (p *program) code(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var e *exit
	if errors.As(err, &e) {
		code = e.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(p.stderr, "throttle:", text)
	}
	return code
}

func usageError(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}
