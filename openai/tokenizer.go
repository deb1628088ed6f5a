package openai

import (
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/pkoukk/tiktoken-go"
	"github.com/pkoukk/tiktoken-go-loader"
)

// Tokenizer counts the tokens that a model makes of a text. It must be safe for concurrent use, should take time linear
// in the text whatever the text is, and must not keep or log it.
type Tokenizer interface {
	// Knows reports whether the tokenizer has the vocabulary of the model, rather than counting with another's.
	Knows(model string) bool
	// Count returns the number of tokens in text, which may be empty and need not be valid UTF-8. What looks like a
	// special token ("<|endoftext|>") is text like any other. It never fails: for an unknown model it counts with some
	// vocabulary that it has.
	Count(model, text string) int
}

// Tiktoken is the default [Tokenizer]: github.com/pkoukk/tiktoken-go with OpenAI's vocabularies embedded in the program,
// so that it downloads nothing. Text in the two vocabularies of present models it splits and merges itself, to the same
// count some ten times faster. A vocabulary is unpacked when it is first needed (about a quarter of a second and 60 MB
// for o200k_base) and kept for the life of the program; [Tiktoken.Load] does that ahead of time. The zero value is ready
// to use.
//
// Counts are exact except in runs of more than 128 bytes without a place where a token must end (a letter repeated for
// pages, base64, long text in a script without spaces). Such runs are cut so that time stays linear; each cut adds one
// token at most.
type Tiktoken struct{}

var _ Tokenizer = Tiktoken{}

// Knows implements [Tokenizer]; see [Encoding].
func (Tiktoken) Knows(model string) bool {
	_, known := Encoding(model)
	return known
}

// Count implements [Tokenizer].
func (Tiktoken) Count(model, text string) int {
	name, _ := Encoding(model)
	return vocabularies[name]().count(text)
}

// Load unpacks the vocabularies of the models named, so that the first request does not wait for it.
func (Tiktoken) Load(models ...string) {
	for _, m := range models {
		name, _ := Encoding(m)
		vocabularies[name]()
	}
}

type vocabulary struct {
	bpe   *tiktoken.Tiktoken
	ranks map[string]int
	split splitter // nil where only the pattern can split
}

// vocabularies unpack themselves once, on first use.
var vocabularies = map[string]func() vocabulary{
	O200kBase: unpack(O200kBase, `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|`+
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|`+
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`),
	CL100kBase: unpack(CL100kBase, `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|`+
		`\s*[\r\n]+|\s+(?!\S)|\s+`),
	P50kBase: unpack(P50kBase, gpt2Pattern),
	R50kBase: unpack(R50kBase, gpt2Pattern),
}

// The patterns are part of the vocabularies' definition; source: openai/tiktoken, tiktoken_ext/openai_public.py.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// unpack builds the tokenizer from its parts. The library's own GetEncoding would build it anew at each call, with a
// loader that is global to the program (the user's program may use the library too) and downloads by default.
func unpack(name, pattern string) func() vocabulary {
	return sync.OnceValue(func() vocabulary {
		ranks, err := tiktoken_loader.NewOfflineLoader().LoadTiktokenBpe(name + ".tiktoken")
		if err != nil {
			panic(fmt.Sprintf("openai: the embedded vocabulary %s is damaged: %v", name, err)) // a fault of the build
		}
		core, err := tiktoken.NewCoreBPE(ranks, nil, pattern)
		if err != nil {
			panic(fmt.Sprintf("openai: the pattern of %s is damaged: %v", name, err)) // a fault of the build
		}
		return vocabulary{tiktoken.NewTiktoken(core, nil, nil), ranks, splitters[name]}
	})
}

var mergers = sync.Pool{New: func() any { return new(merger) }}

func (v vocabulary) count(text string) int {
	n := 0
	m := mergers.Get().(*merger)
	defer mergers.Put(m)
	for len(text) > 0 {
		end := cutPoint(text)
		n += v.countPortion(text[:end], m)
		text = text[end:]
	}
	return n
}

// countPortion counts a portion: its pieces by hand, or all of it with the library.
func (v vocabulary) countPortion(portion string, m *merger) int {
	if v.split == nil {
		return len(v.bpe.EncodeOrdinary(portion))
	}
	if !utf8.ValidString(portion) {
		portion = string([]rune(portion)) // each byte that isn't UTF-8 becomes U+FFFD, as in the library
	}
	n := 0
	for i := 0; i < len(portion); {
		end := v.split(portion, i)
		n += m.count(portion[i:end], v.ranks)
		i = end
	}
	return n
}
