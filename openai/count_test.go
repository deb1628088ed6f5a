package openai

import (
	"net/url"
	"testing"
)

func count(t *testing.T, e Endpoint, body string) Estimate {
	t.Helper()
	got, err := Count([]byte(body), e)
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return got
}

// tokens is what a text has by itself.
func tokens(text string) int { return Tiktoken{}.Count("gpt-4o", text) }

func TestEndpointOf(t *testing.T) {
	for rawURL, want := range map[string]Endpoint{
		"https://api.openai.com/v1/chat/completions":                                                 Chat,
		"https://api.openai.com/v1/responses":                                                        Responses,
		"https://api.openai.com/v1/responses/":                                                       Responses,
		"https://api.openai.com/v1/embeddings":                                                       Embeddings,
		"https://api.openai.com/v1/completions":                                                      Completions,
		"https://api.openai.com/v1/moderations":                                                      Moderations,
		"https://acme.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21": Chat,
		"https://acme.openai.azure.com/openai/deployments/d/embeddings?api-version=2024-10-21":       Embeddings,
		"http://localhost:8000/chat/completions":                                                     Chat,
	} {
		u, err := url.Parse(rawURL)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := EndpointOf(u); got != want || !ok {
			t.Errorf("EndpointOf(%s) = %q, %v; want %q", rawURL, got, ok, want)
		}
	}
	for _, path := range []string{"/v1/models", "/v1/responses/resp_1", "/v1/files", "/", "", "/v1/xresponses"} {
		if got, ok := EndpointOf(&url.URL{Path: path}); ok {
			t.Errorf("EndpointOf(%s) = %q, want none", path, got)
		}
	}
}

func TestCountResponses(t *testing.T) {
	question := tokens("Why is the sky blue?")
	want := question + perMessage + 1 + perReply
	for name, body := range map[string]string{
		"string":       `{"model":"gpt-4o","input":"Why is the sky blue?"}`,
		"message":      `{"model":"gpt-4o","input":[{"role":"user","content":"Why is the sky blue?"}]}`,
		"typed":        `{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Why is the sky blue?"}]}],"model":"gpt-4o"}`,
		"role at end":  `{"input":[{"content":"Why is the sky blue?","role":"user"}],"model":"gpt-4o"}`,
		"escaped":      `{"model":"gpt-4o","input":"\u0057hy is the sky blue\u003f"}`,
		"unknown keys": `{"model":"gpt-4o","input":"Why is the sky blue?","metadata":{"a":"b c d"},"user":"x y z","include":["a"],"x":{"y":[1,{"z":"text"}]}}`,
	} {
		if got := count(t, Responses, body); got.Input != want || got.OutputSet || got.Hidden || got.Choices != 1 {
			t.Errorf("%s: %+v, want input %d", name, got, want)
		}
	}
	got := count(t, Responses, `{"model":"gpt-4o","instructions":"Be brief.","input":"Why is the sky blue?","max_output_tokens":100,"stream":true}`)
	if got.Input != want+tokens("Be brief.")+perMessage+1 || got.Output != 100 || !got.OutputSet || !got.Stream {
		t.Errorf("instructions: %+v", got)
	}
	hidden := map[string]string{
		"previous response": `{"model":"gpt-4o","input":"hi","previous_response_id":"resp_1"}`,
		"conversation":      `{"model":"gpt-4o","input":"hi","conversation":"conv_1"}`,
		"conversation id":   `{"model":"gpt-4o","input":"hi","conversation":{"id":"conv_1"}}`,
		"stored prompt":     `{"model":"gpt-4o","prompt":{"id":"pmpt_1","version":"2"}}`,
		"reference":         `{"model":"gpt-4o","input":[{"type":"item_reference","id":"msg_1"}]}`,
	}
	for name, body := range hidden {
		if got := count(t, Responses, body); !got.Hidden {
			t.Errorf("%s: not reported as hidden: %+v", name, got)
		}
		if got := count(t, Guess, body); got.Endpoint != Responses {
			t.Errorf("%s: guessed %q", name, got.Endpoint)
		}
	}
	got = count(t, Responses, `{"model":"gpt-4o","prompt":{"id":"pmpt_1","variables":{"city":"San Francisco","essay":{"type":"input_text","text":"Fog"},"photo":{"type":"input_image","image_url":"https://x/y.png","detail":"low"}}}}`)
	if want := tokens("San Francisco") + tokens("Fog") + 85 + perReply; got.Input != want {
		t.Errorf("variables: %d tokens, want %d", got.Input, want)
	}
	got = count(t, Responses, `{"model":"gpt-4o","input":[
		{"role":"user","content":"Weather?"},
		{"type":"function_call","call_id":"call_123456789","name":"get_weather","arguments":"{\"city\":\"Paris\"}"},
		{"type":"function_call_output","call_id":"call_123456789","output":"sunny"}]}`)
	calls := tokens("Weather?") + 1 + tokens("get_weather") + tokens(`{"city":"Paris"}`) + tokens("sunny")
	if low, high := calls, calls+20; got.Input < low || got.Input > high {
		t.Errorf("calls: %d tokens, want %d to %d", got.Input, low, high)
	}
}

func TestCountTools(t *testing.T) {
	chat := count(t, Chat, `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":["string","null"]}}}}}]}`)
	flat := count(t, Responses, `{"model":"gpt-4o","input":"hi","tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":["string","null"]}}}},{"type":"web_search"}]}`)
	bare := count(t, Chat, `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"functions":[{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":["string","null"]}}}}]}`)
	if chat.Input != flat.Input || chat.Input != bare.Input || chat.Input < 25 {
		t.Errorf("the same function counts %d in chat, %d in responses, %d as functions", chat.Input, flat.Input, bare.Input)
	}
	// What cannot be read as tool definitions counts as the text that it is.
	odd := count(t, Chat, `{"model":"gpt-4o","messages":[],"tools":[{"function":{"name":"f","parameters":{"properties":[1,2,3]}}}]}`)
	if odd.Input < 10 {
		t.Errorf("unreadable tools count %d", odd.Input)
	}
}

func TestCountStructuredOutput(t *testing.T) {
	plain := count(t, Chat, `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_object"}}`)
	schema := `{ "type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"] }`
	chat := count(t, Chat, `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"name":"reply","schema":`+schema+`}}}`)
	flat := count(t, Responses, `{"model":"gpt-4o","input":"hi","text":{"format":{"type":"json_schema","name":"reply","schema":`+schema+`}}}`)
	if chat.Input != flat.Input || chat.Input < plain.Input+15 || chat.Input > plain.Input+40 {
		t.Errorf("plain %d, with a schema in chat %d, in responses %d", plain.Input, chat.Input, flat.Input)
	}
}

func TestCountEmbeddings(t *testing.T) {
	for body, want := range map[string]int{
		`{"model":"text-embedding-3-small","input":"hello world"}`:                           2,
		`{"model":"text-embedding-3-small","input":["hello world","hello world"]}`:           4,
		`{"model":"text-embedding-3-small","input":[15339,1917,0]}`:                          3,
		`{"model":"text-embedding-3-small","input":[[15339,1917],[0,1,2]]}`:                  5,
		`{"model":"text-embedding-3-small","input":"","encoding_format":"base64"}`:           0,
		`{"input":["tiktoken is great!"],"dimensions":256,"model":"text-embedding-3-large"}`: 6,
	} {
		for _, e := range []Endpoint{Embeddings, Guess} {
			got := count(t, e, body)
			if got.Input != want || !got.OutputSet || got.Output != 0 || got.Endpoint != Embeddings {
				t.Errorf("%q %s: %+v, want input %d", e, body, got, want)
			}
		}
	}
}

func TestCountCompletions(t *testing.T) {
	for body, want := range map[string]Estimate{
		`{"model":"gpt-3.5-turbo-instruct","prompt":"hello world"}`:                                       {Input: 2, Output: 16},
		`{"model":"gpt-3.5-turbo-instruct","prompt":["hello world","hello world"],"max_tokens":5}`:        {Input: 4, Output: 5},
		`{"model":"gpt-3.5-turbo-instruct","prompt":[15339,1917],"n":2,"max_tokens":5}`:                   {Input: 2, Output: 10},
		`{"model":"gpt-3.5-turbo-instruct","prompt":[[15339],[1917]],"best_of":3,"n":2}`:                  {Input: 2, Output: 48},
		`{"model":"gpt-3.5-turbo-instruct","prompt":"hello world","suffix":"hello world","max_tokens":0}`: {Input: 4, Output: 0},
	} {
		got := count(t, Completions, body)
		if got.Input != want.Input || got.Output != want.Output || !got.OutputSet {
			t.Errorf("%s: %+v, want input %d, output %d", body, got, want.Input, want.Output)
		}
	}
}

func TestOutputBudget(t *testing.T) {
	const chat = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]`
	for fields, want := range map[string]Estimate{
		``:                             {Choices: 1},
		`,"max_tokens":100`:            {Choices: 1, OutputSet: true, Output: 100},
		`,"max_completion_tokens":100`: {Choices: 1, OutputSet: true, Output: 100},
		`,"max_tokens":5,"max_completion_tokens":100,"n":3`: {Choices: 3, OutputSet: true, Output: 300},
		`,"max_tokens":null,"n":null`:                       {Choices: 1},
		`,"max_tokens":-1,"n":-5`:                           {Choices: 1},
		`,"max_tokens":"many","n":"x"`:                      {Choices: 1},
		`,"max_tokens":1e300,"n":1e300`:                     {Choices: maxNumber, OutputSet: true, Output: maxNumber},
	} {
		got := count(t, Chat, chat+fields+`}`)
		if got.Choices != want.Choices || got.OutputSet != want.OutputSet || got.Output != want.Output {
			t.Errorf("%s: %+v, want %+v", fields, got, want)
		}
	}
	got := count(t, Chat, chat+`,"stream":true,"stream_options":{"include_usage":true},"prediction":{"type":"content","content":"hello world"}}`)
	if !got.Stream || !got.IncludeUsage || got.Prediction != 2 {
		t.Errorf("stream and prediction: %+v", got)
	}
	parts := count(t, Chat, chat+`,"prediction":{"type":"content","content":[{"type":"text","text":"hello world"}]}}`)
	if parts.Prediction != 2 || parts.Input != got.Input {
		t.Errorf("prediction in parts: %+v", parts)
	}
}

// The examples of OpenAI's guide "Images and vision", section "Calculating costs"; and the figures that
// community.openai.com/t/1281361 reports as billed for gpt-4.1.
func TestImageTokens(t *testing.T) {
	for _, v := range []struct {
		model string
		image Image
		want  int
	}{
		{"gpt-4o", Image{1024, 1024, "high"}, 765},
		{"gpt-4o", Image{2048, 4096, "high"}, 1105},
		{"gpt-4o", Image{4096, 8192, "low"}, 85},
		{"gpt-4o", Image{512, 512, "auto"}, 255},
		{"gpt-4o", Image{1, 1, ""}, 255},
		{"gpt-4o", Image{}, 1445},
		{"gpt-4o-mini", Image{512, 512, "low"}, 2833},
		{"gpt-4o-mini", Image{512, 512, "high"}, 8500},
		{"o1", Image{1024, 1024, "high"}, 675},
		{"gpt-5", Image{1024, 1024, "high"}, 630},
		{"computer-use-preview", Image{1024, 768, "high"}, 581},
		{"gpt-4.1-mini", Image{1024, 1024, ""}, 1659}, // 1024 patches times 1.62
		{"gpt-4.1-mini", Image{1800, 2400, ""}, 2353}, // 1452 patches times 1.62
		{"gpt-4.1-mini", Image{4000, 1474, ""}, 2348}, // as OpenAI's calculator says
		{"o4-mini", Image{1800, 2400, ""}, 2498},
		{"gpt-4.1-nano", Image{32, 32, ""}, 3},
		{"gpt-5-mini", Image{}, 2489},
		{"gpt-4.1", Image{2049, 513, "high"}, 1445}, // reported as 1453 with 8 tokens of text
		{"gpt-4.1", Image{2050, 513, "high"}, 765},  // reported as 773
		{"gpt-4o", Image{1, 1_000_000, "high"}, 765},
		{"gpt-4.1-mini", Image{1, 1_000_000, "high"}, 2489},
		{"some-llava", Image{1024, 1024, "high"}, 765},
	} {
		if got := ImageTokens(v.model, v.image); got != v.want {
			t.Errorf("ImageTokens(%s, %+v) = %d, want %d", v.model, v.image, got, v.want)
		}
	}
}
