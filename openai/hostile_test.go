package openai

import (
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestCountBadBodies(t *testing.T) {
	for name, body := range map[string]string{
		"empty":         ``,
		"not JSON":      `model=gpt-4o`,
		"cut":           `{"model":"gpt-4o","messages":[{"role":"user","content":"hello wor`,
		"cut literal":   `{"model":"gpt-4o","stream":tr`,
		"two documents": `{"model":"gpt-4o"}{}`,
		"unquoted":      `{model:"gpt-4o"}`,
		"bad escape":    `{"model":"gpt-4o","messages":[{"role":"user","content":"\q"}]}`,
		"bad unicode":   `{"model":"gpt-4o","messages":[{"role":"user","content":"\u12g4"}]}`,
		"trailing":      `{"model":"gpt-4o",}`,
		"deep":          strings.Repeat(`{"messages":[`, 100_000),
		"mismatch":      `{"model":"gpt-4o","messages":[}]`,
	} {
		got, err := Count([]byte(body), Chat)
		if !errors.Is(err, ErrBody) {
			t.Errorf("%s: error %v, want one that matches ErrBody", name, err)
		}
		if got.Choices < 1 || got.Input < 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// What could be read before the fault is counted.
	if got, _ := Count([]byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"hello world"},`), Chat); got.Input < 6 {
		t.Errorf("a cut body counts %d", got.Input)
	}
	if _, err := new(Counter).CountValue(func() {}, Chat); !errors.Is(err, ErrBody) {
		t.Errorf("a func: %v", err)
	}
	failing := errors.New("disk on fire")
	if _, err := new(Counter).CountReader(func() (io.ReadCloser, error) { return nil, failing }, Chat); !errors.Is(err, failing) {
		t.Errorf("a body that can't be opened: %v", err)
	}
}

func TestCountOddButValid(t *testing.T) {
	for _, body := range []string{
		`null`, `[]`, `"text"`, `12`, `{}`, `{"model":null}`, `{"model":{"a":1}}`, `{"messages":null,"model":"gpt-4o"}`,
		`{"messages":{"role":"user"},"model":"gpt-4o"}`, `{"model":"gpt-4o","messages":[[["x"]]]}`,
		`{"model":"gpt-4o","messages":[{"role":{"a":1},"content":{"b":[]}}],"tools":{},"tool_choice":[],"response_format":[]}`,
		`{"input":[{"content":[["x"]]}],"model":"gpt-4o"}`, ` { } `,
		`{"a.b":1,"messages.[].content":"x","model":"gpt-4o"}`,
	} {
		for _, e := range []Endpoint{Guess, Chat, Responses, Embeddings, Completions, Moderations} {
			if _, err := Count([]byte(body), e); err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
	// A key cannot pose as a path.
	if got := count(t, Chat, `{"messages.[].content":"one two three four five six","model":"gpt-4o"}`); got.Input != perReply {
		t.Errorf("a key with dots counts %d", got.Input)
	}
}

func TestCountReportsUnknownModels(t *testing.T) {
	var told []string
	c := Counter{OnUnknownModel: func(m string) { told = append(told, m) }}
	for _, model := range []string{"gpt-4o", "llama-3"} {
		got, err := c.CountValue(map[string]any{"model": model, "messages": []any{}}, Guess)
		if err != nil || got.Fallback != (model == "llama-3") {
			t.Errorf("%s: %+v, %v", model, got, err)
		}
	}
	if len(told) != 1 || told[0] != "llama-3" {
		t.Errorf("told of %q", told)
	}
}

type params struct {
	Model    string              `json:"model"`
	Messages []map[string]string `json:"messages"`
}

func TestCountValue(t *testing.T) {
	typed := params{"gpt-4o", []map[string]string{{"role": "user", "content": "hi"}}}
	raw, err := json.Marshal(typed)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{typed, &typed, raw, json.RawMessage(raw), string(raw)} {
		got, err := new(Counter).CountValue(v, Guess)
		if err != nil || got.Input != 8 || got.Endpoint != Chat {
			t.Errorf("%T: %+v, %v", v, got, err)
		}
	}
}

// repeated is a reader of a body that is never in memory: before, n times middle, after.
func repeated(before, middle string, n int, after string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		readers := make([]io.Reader, 0, n+2)
		readers = append(readers, strings.NewReader(before))
		for range n {
			readers = append(readers, strings.NewReader(middle))
		}
		return io.NopCloser(io.MultiReader(append(readers, strings.NewReader(after))...)), nil
	}
}

func TestCountLargeBodies(t *testing.T) {
	block := strings.Repeat("QUJD", 256<<10) // 1 MiB
	open := repeated(`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,`, block, 50, `"}}]}],"model":"gpt-4o"}`)
	tokens("warm up")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	got, err := new(Counter).CountReader(open, Chat)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if err != nil || got.Input != 1445+perMessage+1+perReply {
		t.Errorf("%+v, %v", got, err)
	}
	allocated := (after.TotalAlloc - before.TotalAlloc) >> 10
	t.Logf("50 MB with an image: %v, %d kB allocated", took, allocated)
	if allocated > 2<<10 {
		t.Errorf("%d kB allocated for a body of 50 MB", allocated)
	}
}

func FuzzCount(f *testing.F) {
	for _, seed := range []string{
		`{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`,
		`{"model":"gpt-4o","input":[{"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}]}],"tools":[{"type":"function","name":"f","parameters":{"properties":{"a":{"enum":[1,"b"]}}}}]}`,
		`{"prompt":[[1,2],[3]],"max_tokens":1e9,"n":3}`, `{"a":"\ud83d\ude00\ud83d"}`, `[1,2`, "\xff\xfe",
	} {
		f.Add([]byte(seed), uint8(0))
	}
	endpoints := []Endpoint{Guess, Chat, Responses, Embeddings, Completions, Moderations}
	f.Fuzz(func(t *testing.T, body []byte, e uint8) {
		c := Counter{Tokenizer: lengthTokenizer{}}
		got, err := c.Count(body, endpoints[int(e)%len(endpoints)])
		if err != nil && !errors.Is(err, ErrBody) {
			t.Errorf("an error of another kind: %v", err)
		}
		if got.Choices < 1 || got.Output < 0 || got.Input < -64 || got.Input > 16*len(body)+6_000*(1+len(body)/8) {
			t.Errorf("%+v for %d bytes", got, len(body))
		}
		if valid := json.Valid(body); valid && err != nil && !strings.Contains(err.Error(), "nested deeper") {
			t.Errorf("valid JSON refused: %v", err)
		}
	})
}

// lengthTokenizer makes a token of each byte, so that fuzzing is fast.
type lengthTokenizer struct{}

func (lengthTokenizer) Knows(string) bool        { return true }
func (lengthTokenizer) Count(_, text string) int { return len(text) }
