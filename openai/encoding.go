package openai

import "strings"

// The vocabularies that the default tokenizer has, by OpenAI's names for them.
const (
	O200kBase  = "o200k_base"
	CL100kBase = "cl100k_base"
	P50kBase   = "p50k_base"
	R50kBase   = "r50k_base"
)

// FallbackEncoding is what [Tiktoken] counts with when it does not know a model: the vocabulary of OpenAI's current
// models. For other vendors' models it is off by some 10 to 30 % on English text; what a call really used corrects it
// when the reservation is settled.
const FallbackEncoding = O200kBase

// Encoding returns the name of the vocabulary that a model reads with, and whether that is known; if not, the name is
// [FallbackEncoding].
//
// Source: the table in openai/tiktoken, tiktoken/model.py. Open-weight gpt-oss models read o200k_harmony, which differs
// from o200k_base only in special tokens. Beyond that table, a name is known if it merely contains a model's name, so
// that an Azure deployment "acme-gpt-4o-eu" or "gpt4o" is counted right.
func Encoding(model string) (name string, known bool) {
	family := Family(model)
	for _, e := range encodings {
		if strings.HasPrefix(family, e.prefix) {
			return e.name, true
		}
	}
	squeezed := squeeze.Replace(strings.ToLower(family))
	for _, e := range encodings {
		if p := squeeze.Replace(e.prefix); len(p) >= 4 && strings.Contains(squeezed, p) {
			return e.name, true
		}
	}
	return FallbackEncoding, false
}

var squeeze = strings.NewReplacer("-", "", ".", "", "_", "")

type encodingOf struct{ prefix, name string }

// encodings is searched in order: the longer name stands before the shorter one that it begins with.
var encodings = []encodingOf{
	{"gpt-5", O200kBase},
	{"gpt-4.5", O200kBase},
	{"gpt-4.1", O200kBase},
	{"gpt-4o", O200kBase},
	{"chatgpt-", O200kBase},
	{"gpt-oss", O200kBase},
	{"gpt-realtime", O200kBase},
	{"gpt-audio", O200kBase},
	{"gpt-image", O200kBase},
	{"computer-use", O200kBase},
	{"codex-mini", O200kBase},
	{"omni-moderation", O200kBase},
	{"o1", O200kBase},
	{"o3", O200kBase},
	{"o4", O200kBase},
	{"gpt-4", CL100kBase},
	{"gpt-3.5", CL100kBase},
	{"text-embedding-3", CL100kBase},
	{"text-embedding-ada-002", CL100kBase},
	{"text-moderation", CL100kBase},
	{"davinci-002", CL100kBase},
	{"babbage-002", CL100kBase},
	{"text-davinci-003", P50kBase},
	{"text-davinci-002", P50kBase},
	{"text-davinci-edit", P50kBase},
	{"code-davinci", P50kBase},
	{"code-cushman", P50kBase},
	{"text-", R50kBase},
	{"code-", R50kBase},
	{"davinci", R50kBase},
	{"curie", R50kBase},
	{"babbage", R50kBase},
	{"ada", R50kBase},
}
