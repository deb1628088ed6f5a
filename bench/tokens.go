package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tiktoken-go/tokenizer"

	"github.com/tokenthrottle/throttle/openai"
)

const textSize = 100_000

// english is licence text, over and over, each time a little different.
func english(size int) (string, error) {
	text, err := os.ReadFile("../LICENSE")
	if err != nil {
		return "", fmt.Errorf("run this in the folder bench: %w", err)
	}
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "Copy %d.\n%s", i, text)
	}
	return b.String()[:size], nil
}

// code is this project's own, over and over.
func code(size int) (string, error) {
	files, err := filepath.Glob("../*.go")
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("run this in the folder bench: no ../*.go: %w", err)
	}
	var b strings.Builder
	for b.Len() < size {
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				return "", err
			}
			b.Write(text)
		}
	}
	return b.String()[:size], nil
}

func oneLetter(size int) (string, error) { return strings.Repeat("a", size), nil }

// counting counts the tokens of a text that text makes.
func counting(name string, text func(int) (string, error), count func(string) (int, error)) func() (side, error) {
	return func() (side, error) {
		t, err := text(textSize)
		if err != nil {
			return side{}, err
		}
		return side{name: name, run: func(_, n int) error {
			for range n {
				if _, err := count(t); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	}
}

func countOurs(text string) (int, error) { return openai.Tiktoken{}.Count("gpt-4o", text), nil }

var otherCodec = sync.OnceValues(func() (tokenizer.Codec, error) { return tokenizer.Get(tokenizer.O200kBase) })

func countOther(text string) (int, error) {
	codec, err := otherCodec()
	if err != nil {
		return 0, err
	}
	return codec.Count(text)
}

func tokenContests() []contest {
	var list []contest
	for _, t := range []struct {
		name string
		text func(int) (string, error)
	}{{"tokens-english", english}, {"tokens-code", code}, {"tokens-one-letter", oneLetter}} {
		list = append(list, contest{
			name: t.name, goroutines: 1, keys: 0, budget: 150 * time.Millisecond, rounds: 5,
			ours:  counting("throttle/openai", t.text, countOurs),
			other: counting("tiktoken-go/tokenizer", t.text, countOther),
			extra: func(r *row, _ side) error { return tokenGrowth(r, t.text) },
		})
	}
	return list
}

// tokenGrowth notes how our time grows from a tenth of the text to all of it: ten times is linear.
func tokenGrowth(r *row, text func(int) (string, error)) error {
	var took [2]float64
	for i, size := range []int{textSize / 10, textSize} {
		t, err := text(size)
		if err != nil {
			return err
		}
		var list []float64
		for range 21 {
			start := time.Now()
			if _, err := countOurs(t); err != nil {
				return err
			}
			list = append(list, float64(time.Since(start)))
		}
		took[i] = slices.Min(list) // the first ones fill what is kept
	}
	r.Note = fmt.Sprintf("%.2g ms a kilobyte; ten times the text takes %.1f times as long", r.OursNS/1e6/(textSize/1000), took[1]/took[0])
	return nil
}
