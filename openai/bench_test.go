package openai

import (
	"os"
	"strings"
	"testing"
)

func BenchmarkCount(b *testing.B) {
	source, err := os.ReadFile("count.go")
	if err != nil {
		b.Fatal(err)
	}
	english, err := os.ReadFile("../LICENSE")
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, text string }{
		{"english", string(english)}, {"code", string(source)}, {"letter", strings.Repeat("a", 100_000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			Tiktoken{}.Load("gpt-4o")
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				Tiktoken{}.Count("gpt-4o", c.text)
			}
		})
	}
}
