// Package openai keeps calls to OpenAI, and to any server that speaks its API, under their limits: requests and tokens a
// minute and a day.
//
// # Basics
//
// Make a limiter with the limits of the account, give its transport to whatever client makes the calls, and make them:
//
//	lim := openai.NewLimiter(memory.New(), openai.Limits{RPM: 10_000, TPM: 2_000_000})
//	client := &http.Client{Transport: &openai.Transport{Limiter: lim}}
//
// The official SDK takes the client with option.WithHTTPClient. Each call is counted before it is sent, waits until its
// tokens fit, and is settled with the usage that the answer reports: what was reserved and not used goes to the next call
// at once. Limits that are left out are learned from the answers' headers. [Models] gives each model family its own.
//
// Without the transport, Limiter.AcquireFor counts a request in any form ([Counter.CountValue]), and [ReadUsage] or a
// [UsageReader] tells what to settle it with.
//
// # Counting
//
// [Count] works out a request's input tokens from its body alone, for chat, responses, embeddings, completions and
// moderations: text by the model's own vocabulary, embedded in the program; tools and response formats as the model sees
// them; images by their dimensions and the published rules. testdata holds some sixty requests with the prompt tokens that
// OpenAI's API reported for them; counts are equal for nearly all and at most 4 % too high for the rest.
//
// # Caveats
//
// The vocabularies add some 7 MB to the program, and each that is used some 60 MB of memory. A program that brings a
// [Tokenizer] of its own still links the default.
//
// A client's own timeouts count the time a call waits for capacity. Give calls that may wait a context with a deadline
// that allows for it.
//
// What a call really uses is known when it ends; until then it holds what was reserved. Requests that limit their output
// (max_completion_tokens, max_output_tokens) little above what they need waste no capacity while they run.
package openai
