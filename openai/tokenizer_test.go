package openai

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEncoding(t *testing.T) {
	// The table of openai/tiktoken, tiktoken/model.py.
	for model, want := range map[string]string{
		"o1": O200kBase, "o3": O200kBase, "o4-mini": O200kBase, "o1-preview-2024-09-12": O200kBase,
		"gpt-5": O200kBase, "gpt-5-mini-2025-08-07": O200kBase, "gpt-4.5-preview": O200kBase,
		"gpt-4.1": O200kBase, "gpt-4.1-nano-2025-04-14": O200kBase,
		"gpt-4o": O200kBase, "gpt-4o-mini": O200kBase, "chatgpt-4o-latest": O200kBase,
		"gpt-oss-120b": O200kBase, "openai/gpt-oss-20b": O200kBase,
		"gpt-4": CL100kBase, "gpt-4-0314": CL100kBase, "gpt-4-32k": CL100kBase,
		"gpt-3.5-turbo": CL100kBase, "gpt-3.5": CL100kBase, "gpt-35-turbo": CL100kBase, "gpt-35-turbo-0613": CL100kBase,
		"davinci-002": CL100kBase, "babbage-002": CL100kBase,
		"text-embedding-ada-002": CL100kBase, "text-embedding-3-small": CL100kBase, "text-embedding-3-large": CL100kBase,
		"ft:gpt-4o-mini-2024-07-18:acme::9aBcD": O200kBase, "ft:gpt-4-0613:acme::x": CL100kBase,
		"ft:gpt-3.5-turbo:acme::x": CL100kBase, "ft:davinci-002:acme::x": CL100kBase,
		"text-davinci-003": P50kBase, "text-davinci-002": P50kBase, "code-davinci-002": P50kBase,
		"text-davinci-001": R50kBase, "davinci": R50kBase, "ada": R50kBase, "text-similarity-ada-001": R50kBase,
		"acme-gpt-4o-eu": O200kBase, "gpt4o": O200kBase, "prod-gpt35-turbo": CL100kBase, "my-text-embedding-3-large": CL100kBase,
	} {
		if got, known := Encoding(model); got != want || !known {
			t.Errorf("Encoding(%q) = %s, %v; want %s, true", model, got, known, want)
		}
	}
	for _, model := range []string{"", "llama-3.1-8b-instruct", "mistral-large-latest", "claude-sonnet-4-5", "deployment-7"} {
		if got, known := Encoding(model); got != FallbackEncoding || known {
			t.Errorf("Encoding(%q) = %s, %v; want %s, false", model, got, known, FallbackEncoding)
		}
	}
}

// Counts that other implementations published: the lengths of the id lists in the tests of tiktoken-go/tokenizer
// (tokenizer_test.go), of openai/tiktoken (tests/test_encoding.py), of pkoukk/tiktoken-go (tiktoken_test.go), and the
// outputs in OpenAI's cookbook (How_to_count_tokens_with_tiktoken.ipynb).
func TestTokenizerVectors(t *testing.T) {
	const birthday = "お誕生日おめでとう"
	models := map[string]string{O200kBase: "gpt-4o", CL100kBase: "gpt-4", P50kBase: "text-davinci-003", R50kBase: "davinci"}
	for _, v := range []struct {
		encoding, text string
		want           int
	}{
		{O200kBase, "hello world", 2}, {O200kBase, "hello  world", 3}, {O200kBase, "hello   world", 3},
		{O200kBase, "supercalifragilistic", 6}, {O200kBase, "We know what we are, but know not what we may be.", 14},
		{CL100kBase, "hello world", 2}, {CL100kBase, "hello  world", 3}, {CL100kBase, "hello   world", 3},
		{CL100kBase, "supercalifragilistic", 7}, {CL100kBase, "We know what we are, but know not what we may be.", 14},
		{R50kBase, "hello world", 2}, {R50kBase, "hello   world", 4}, {R50kBase, "supercalifragilistic", 6},
		{P50kBase, "hello world", 2}, {P50kBase, "hello   world", 3}, {P50kBase, "supercalifragilistic", 6},
		{CL100kBase, "rer", 1}, {CL100kBase, "'rer", 2}, {CL100kBase, "today\n ", 3}, {CL100kBase, "today\n \n", 2},
		{CL100kBase, "today\n  \n", 2}, {CL100kBase, " \u00850", 4}, {CL100kBase, "👍", 3}, {R50kBase, "", 0},
		{CL100kBase, "hello world!你好，世界！", 10},
		{CL100kBase, "tiktoken is great!", 6},
		{CL100kBase, "antidisestablishmentarianism", 6}, {P50kBase, "antidisestablishmentarianism", 5},
		{CL100kBase, "2 + 2 = 4", 7}, {R50kBase, "2 + 2 = 4", 5},
		{R50kBase, birthday, 14}, {P50kBase, birthday, 14}, {CL100kBase, birthday, 9}, {O200kBase, birthday, 8},
	} {
		if got := (Tiktoken{}).Count(models[v.encoding], v.text); got != v.want {
			t.Errorf("%s: %q has %d tokens, want %d", v.encoding, v.text, got, v.want)
		}
	}
}

// Text that looks like a special token is text: where the library would panic, the count is that of its pieces.
func TestSpecialTokensAreText(t *testing.T) {
	if got := (Tiktoken{}).Count("gpt-4", "hello <|endoftext|>"); got < 5 || got > 12 {
		t.Errorf("a special token in a text counts %d tokens", got)
	}
}

// Cutting a text into portions must not change its count where a token ends at the cut for certain.
func TestPortionsCountAsWhole(t *testing.T) {
	prose := "The quick brown fox can't jump over 12,345 lazy dogs — don't they'll say; so \"it's\" done.\n\n\tif (x >= 10) {\n\t\treturn ünïcode['é'];\n}\r\n 日本語のテキスト、 and   spaces  \n"
	text := strings.Repeat(prose, 60)
	for name, unpacked := range vocabularies {
		v := unpacked()
		if got, want := v.count(text), len(v.bpe.EncodeOrdinary(text)); got != want {
			t.Errorf("%s: %d tokens in portions, %d as a whole", name, got, want)
		}
	}
}

// Ten times the text takes some ten times as long: were counting quadratic, as merging pairs by itself is, it would be a
// hundred. And none takes long.
func TestCountIsLinear(t *testing.T) {
	v := vocabularies[O200kBase]()
	v.count("warm up")
	const size, longer, most = 10_000, 10, 30
	for name, piece := range map[string]string{
		"one letter":    "a",
		"capital":       "A",
		"digit":         "7",
		"space":         " ",
		"newline":       "\n",
		"punctuation":   "^",
		"apostrophe s":  "'s",
		"CJK":           "誕",
		"combining":     "e\u0301",
		"invalid UTF-8": "\xff",
		"base64":        "QUJDZGVmZ2hpMTIz",
		"spaces then x": " ",
		"alternating":   "aA",
	} {
		count := func(size int) (n int, took time.Duration) {
			text := strings.Repeat(piece, size/len(piece))
			if name == "spaces then x" {
				text += "x"
			}
			took = 1 << 62
			for range orIfRace(5, 2) { // the best of them, for the machine may be busy
				start := time.Now()
				n = v.count(text)
				took = min(took, time.Since(start))
			}
			return n, took
		}
		_, short := count(size)
		n, long := count(longer * size)
		t.Logf("%-14s %6d tokens in %v, a tenth in %v", name, n, long, short)
		if n == 0 {
			t.Errorf("%s: no tokens", name)
		}
		if long > most*short {
			t.Errorf("%s: %v for %d bytes, %v for a tenth of them, want at most %d times as long", name, long, longer*size, short, most)
		}
		limit := linearLimit
		if name == "invalid UTF-8" { // three times as long where it is counted
			limit *= 4
		}
		if long > limit {
			t.Errorf("%s: %v for %d bytes, want at most %v", name, long, longer*size, limit)
		}
	}
}

// FuzzSplit holds the hand-made splitting to the vocabularies' patterns.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{
		"Hello, World! it's I'LL don'T 'S 'x ''s 12345 a1b2", "  x\t\ty \n\n  z \r\n", "http://x.y/z\n//w //\n/ ", "ABCdefGHI aB Ab", " ", "\n", "!", "'", " '",
		"\v\f \x00\x7f", "ÄÖü Ünï\u0301 e\u0301E\u0301", "日本語 テキスト、。", "ǅx ʰX ªA", "\u00a0\u2003\u0085 x\u3000", "½²³٣٤٥٦", "👍🏽 \u200d", "Жук'S ſ'ſ K", "\u0301\u0301a \u0301A", "한국어",
	} {
		f.Add(seed)
	}
	var m merger
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return
		}
		for name := range splitters {
			v := vocabularies[name]()
			if got, want := v.countPortion(text, &m), len(v.bpe.EncodeOrdinary(text)); got != want {
				t.Errorf("%s: %q has %d tokens by hand, %d by the pattern", name, text, got, want)
			}
		}
	})
}

// TestSplitOfRandomText tries what a fuzzer that knows bytes is slow to find: characters of every class beside each other.
func TestSplitOfRandomText(t *testing.T) {
	alphabet := []rune("aBz'sStTlLrReEvVmMdD019 \t\n\r/.,!-_\u00a0\u0085\u2003\u2028\u3000äÄǅʰªßЖж日한\u0301\u0903½²٣👍ſK\x00\u200d")
	rng := rand.New(rand.NewPCG(1, 1))
	var m merger
	for range orIfRace(20_000, 500) {
		runes := make([]rune, 1+rng.IntN(12))
		for i := range runes {
			runes[i] = alphabet[rng.IntN(len(alphabet))]
		}
		text := string(runes)
		for name := range splitters {
			v := vocabularies[name]()
			if got, want := v.countPortion(text, &m), len(v.bpe.EncodeOrdinary(text)); got != want {
				t.Fatalf("%s: %q has %d tokens by hand, %d by the pattern", name, text, got, want)
			}
		}
	}
}

// The same for real text, of which fuzzing finds little: this module's own sources and documents.
func TestSplitOfRealText(t *testing.T) {
	files, err := filepath.Glob("../*/*.*")
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	var m merger
	for _, file := range files[:orIfRace(len(files), 10)] {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b[:min(len(b), 8<<10)])
		for name := range splitters {
			v := vocabularies[name]()
			if got, want := v.countPortion(text, &m), len(v.bpe.EncodeOrdinary(text)); got != want {
				t.Errorf("%s: %s: %d tokens by hand, %d by the pattern", file, name, got, want)
			}
		}
	}
}

// orIfRace is n, or less under the race detector, which has nothing to find in arithmetic.
func orIfRace(n, less int) int {
	if RaceDetector {
		return less
	}
	return n
}
