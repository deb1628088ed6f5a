// Package provider is a simulated LLM API: the endpoints, bodies, headers, rate limits and failures of OpenAI and
// Anthropic over HTTP, for tests and demonstrations that must not call a paid service.
//
// It keeps its own rate arithmetic and imports nothing else of this module, so that a limiter tested against it is
// judged by something that doesn't share its mistakes.
//
// # Enforcement
//
// Each model has a meter for each limit that is set. A meter remembers what was used; usage drains linearly, the whole
// limit in one window, and a charge is accepted while used + charge stays within the burst (the whole limit, unless set
// smaller). The wait OpenAI states in its refusals agrees with exactly this: "Limit 10000, Used 8554, Requested 3082.
// Please try again in 9.816s" is (8554 + 3082 − 10000) / 10000 of a minute
// (github.com/FoundationAgents/MetaGPT/issues/523).
//
// OpenAI's endpoints charge the prompt and the largest possible answer when the request arrives, and correct the charge
// to the usage they report when the answer is complete. Anthropic's endpoint charges input when the request arrives and
// output as it is generated; it admits a request while any output is left.
//
// # Clocks and jitter
//
// The provider measures time where it is: at its own clock, when it has read the request. A client that spaces its
// requests exactly at the limit by its own clock is early here whenever a request travelled faster than the one
// before it: with latencies between 1 ms and 3 ms, by up to 2 ms. Real providers refuse such a request, and so does
// this one: enforcement is exact. [Config.Tolerance] accepts a request that is early by no more than that duration, for
// tests that are about something else.
package provider
