package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batch"
	"github.com/tokenthrottle/throttle/internal/report"
)

// batchResult is the JSON form of a batch's summary; it is part of the command's interface.
type batchResult struct {
	// Lines of the input were read, but for empty ones.
	Lines int `json:"lines"`
	// Succeeded and Failed got their result in this run, Skipped had one before, Rejected lines can't be run.
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Skipped   int `json:"skipped"`
	Rejected  int `json:"rejected"`
	// Unfinished were read and have no result: the run was stopped.
	Unfinished int `json:"unfinished"`
	// Sent counts tries, and the next three how many of them ended so.
	Sent          int `json:"sent"`
	Rejected429   int `json:"rejected_429"`
	ServerErrors  int `json:"server_errors"`
	NetworkErrors int `json:"network_errors"`
	// Tokens of the requests that succeeded in this run.
	TokensReserved int64   `json:"tokens_reserved"`
	TokensUsed     int64   `json:"tokens_used"`
	Elapsed        float64 `json:"elapsed_s"`
	// RepairedBytes were removed from the end of the output: a line that an earlier run didn't finish.
	RepairedBytes int64  `json:"repaired_bytes"`
	Output        string `json:"output"`
	// Errors is the file of the rejected lines; null if there is none.
	Errors *string `json:"errors"`
	// Stopped is why the run ended early: interrupted, refused, unreachable, store, output, input; null if it didn't.
	Stopped *batch.Reason `json:"stopped"`
}

// report says what a run did.
func (c *batchCommand) report(p *program, o batch.Options, s batch.Summary, err error, took time.Duration) error {
	var stopped *batch.StoppedError
	if err != nil && !errors.As(err, &stopped) {
		return nil // it never began
	}
	r := batchResult{
		Lines: s.Lines, Succeeded: s.Succeeded, Failed: s.Failed, Skipped: s.Skipped, Rejected: s.Rejected,
		Unfinished: s.Lines - s.Done(), Sent: s.Sent, Rejected429: s.Rejected429, ServerErrors: s.ServerErrors,
		NetworkErrors: s.NetworkErrors, TokensReserved: s.TokensReserved, TokensUsed: s.TokensUsed, Elapsed: took.Seconds(),
		RepairedBytes: s.Repaired, Output: o.Out,
	}
	if s.Rejected > 0 {
		r.Errors = &o.Rejects
	}
	if stopped != nil {
		r.Stopped = &stopped.Reason
	}
	if !c.Quiet {
		r.print(p)
	}
	if c.JSON {
		return writeJSON(p.stdout, r)
	}
	return nil
}

func (r *batchResult) print(p *program) {
	fmt.Fprintf(p.stderr, "%s succeeded, %s failed, %s had results before, %s lines rejected", report.Whole(int64(r.Succeeded)),
		report.Whole(int64(r.Failed)), report.Whole(int64(r.Skipped)), report.Whole(int64(r.Rejected)))
	if r.Stopped != nil {
		fmt.Fprintf(p.stderr, ", %s not finished", report.Whole(int64(r.Unfinished)))
	}
	fmt.Fprintf(p.stderr, "; %s tokens used in %s, %d × 429.\n", report.Whole(r.TokensUsed),
		report.Span(time.Duration(r.Elapsed*float64(time.Second))), r.Rejected429)
	if r.Errors != nil {
		fmt.Fprintf(p.stderr, "Rejected lines: %s\n", *r.Errors)
	}
}
