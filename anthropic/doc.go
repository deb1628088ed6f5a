// Package anthropic keeps calls to Anthropic's Messages API under their limits: requests, input tokens and output tokens
// a minute, each by itself.
//
// # Basics
//
// Make a limiter with the limits of the account, give its transport to whatever client makes the calls, and make them:
//
//	lim := anthropic.NewLimiter(memory.New(), anthropic.Limits{RPM: 4_000, ITPM: 2_000_000, OTPM: 400_000})
//	client := &http.Client{Transport: &anthropic.Transport{Limiter: lim}}
//
// The official SDK takes the client with option.WithHTTPClient. Limits that are left out are learned from the answers'
// headers. [Models] gives each model family its own.
//
// # What counts
//
// Input is what was neither read from a cache nor free otherwise: input_tokens and cache_creation_input_tokens. Output is
// what was written; max_tokens counts towards no limit, and so a high quantile of what earlier calls wrote is reserved,
// not max_tokens. Both are settled with the usage that the message or its stream reports.
//
// # Counting
//
// Anthropic publishes no vocabulary. [Count] estimates by a simple rule, which recorded requests show to be within 8 %; a
// [Transport] then corrects it by what calls of the family were really charged. Where that isn't enough,
// Transport.CountTokens asks the provider's count-tokens endpoint before each call.
//
// # Caveats
//
// A client's own timeouts count the time a call waits for capacity. The official SDK allows a call that isn't streamed
// time in proportion to its max_tokens (8 seconds for 300) unless told otherwise with option.WithRequestTimeout.
package anthropic
