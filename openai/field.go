package openai

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// fieldKind says what a string of a request is to the one who counts it.
type fieldKind uint8

const (
	ignored   fieldKind = iota // an id, a setting: not part of the prompt
	textField                  // part of the prompt
	control                    // decides how something else is counted
	imageURL
	audioData
	fileData
)

// fields lists the strings of the request bodies that matter, by their path in the body.
//
// Source: OpenAI's API reference (openai/openai-openapi) for the five endpoints.
var fields = map[string]fieldKind{
	// chat/completions
	"messages.[].role":                             textField,
	"messages.[].name":                             textField,
	"messages.[].content":                          textField,
	"messages.[].refusal":                          textField,
	"messages.[].content.[].text":                  textField,
	"messages.[].content.[].refusal":               textField,
	"messages.[].content.[].type":                  control,
	"messages.[].content.[].image_url":             imageURL, // some compatible servers
	"messages.[].content.[].image_url.url":         imageURL,
	"messages.[].content.[].image_url.detail":      control,
	"messages.[].content.[].input_audio.data":      audioData,
	"messages.[].content.[].input_audio.format":    control,
	"messages.[].content.[].file.file_data":        fileData,
	"messages.[].function_call.name":               textField,
	"messages.[].function_call.arguments":          textField,
	"messages.[].tool_calls.[].function.name":      textField,
	"messages.[].tool_calls.[].function.arguments": textField,
	"messages.[].tool_calls.[].custom.name":        textField,
	"messages.[].tool_calls.[].custom.input":       textField,
	"prediction.content":                           textField,
	"prediction.content.[].text":                   textField,
	"tool_choice":                                  control,
	"function_call":                                control,

	// responses; also embeddings and moderations: input
	"input":                                  textField,
	"input.[]":                               textField,
	"input.[].type":                          control,
	"input.[].role":                          textField,
	"input.[].name":                          textField,
	"input.[].text":                          textField,
	"input.[].image_url.url":                 imageURL,
	"input.[].arguments":                     textField,
	"input.[].input":                         textField,
	"input.[].output":                        textField,
	"input.[].output.image_url":              imageURL,
	"input.[].output.[].text":                textField,
	"input.[].output.[].type":                control,
	"input.[].output.[].image_url":           imageURL,
	"input.[].output.[].detail":              control,
	"input.[].output.[].file_data":           fileData,
	"input.[].content":                       textField,
	"input.[].content.[].text":               textField,
	"input.[].content.[].refusal":            textField,
	"input.[].content.[].type":               control,
	"input.[].content.[].image_url":          imageURL,
	"input.[].content.[].detail":             control,
	"input.[].content.[].file_data":          fileData,
	"input.[].content.[].input_audio.data":   audioData,
	"input.[].content.[].input_audio.format": control,
	"instructions":                           textField,
	"instructions.[].role":                   textField,
	"instructions.[].content":                textField,
	"instructions.[].content.[].text":        textField,
	"previous_response_id":                   control,
	"conversation":                           control,

	// completions
	"prompt":    textField,
	"prompt.[]": textField,
	"suffix":    textField,
}

// field tells what the string at a path is.
func field(path []byte) fieldKind {
	if kind, known := fields[string(path)]; known {
		return kind
	}
	if rest, found := bytes.CutPrefix(path, variables); found {
		switch _, part, _ := bytes.Cut(rest, []byte(".")); string(part) {
		case "", "text":
			return textField
		case "type", "detail":
			return control
		case "image_url":
			return imageURL
		case "file_data":
			return fileData
		}
	}
	return ignored
}

// The variables of a stored prompt, by name: a string, or a part like those of a message.
var variables = []byte("prompt.variables.")

func isVariable(path []byte) bool { return bytes.HasPrefix(path, variables) }

// lastCut returns where the beginning of an unfinished text can be counted by itself: before its last space if it has one
// near its end, else between two characters.
func lastCut(text []byte) int {
	for i := len(text) - 1; i > len(text)-longRun && i > 0; i-- {
		if text[i] == ' ' && text[i-1] > ' ' && text[i-1] < 0x7F {
			return i
		}
	}
	for i := 1; i <= utf8.UTFMax && i < len(text); i++ {
		if utf8.RuneStart(text[len(text)-i]) {
			return len(text) - i
		}
	}
	return len(text)
}

// compact returns JSON without the spaces between its parts.
func compact(raw []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// tailOf returns the last characters of a text, enough to tell how it ends.
func tailOf(text string) string {
	const length = 32
	if len(text) <= length {
		return text
	}
	i := len(text) - length
	for i < len(text) && !utf8.RuneStart(text[i]) {
		i++
	}
	return text[i:]
}
