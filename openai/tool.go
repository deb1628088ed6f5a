package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Tool and function definitions reach the model as TypeScript declarations in a system message, not as the JSON that was
// sent, so the declarations are what has to be counted. OpenAI does not document it; the form and the constants below
// are checked against prompt_tokens that its API reported, as published by the OpenAI cookbook ("How to count tokens
// with tiktoken") and by the tests of hmarr/openai-chat-tokens; see tool_test.go for each.
const (
	toolsOverhead      = 9  // the system message that carries the declarations, beside them
	toolsSystemSaving  = -4 // less where the request has a system message that they join
	toolChoiceNone     = 1
	toolChoiceFunction = 4  // beside the function's name
	formatOverhead     = 10 // the heading under which a response format's schema stands
)

// definition is a function that a request offers: {"type":"function","function":{…}} in chat, flat in responses, bare in
// the older "functions".
type definition struct {
	Type        string      `json:"type"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Parameters  *schema     `json:"parameters"`
	Function    *definition `json:"function"`
}

// schema is what of a JSON schema the declarations show.
type schema struct {
	Type        schemaType     `json:"type"`
	Description string         `json:"description"`
	Enum        []any          `json:"enum"`
	Items       *schema        `json:"items"`
	AnyOf       []schema       `json:"anyOf"`
	Required    []string       `json:"required"`
	Properties  orderedSchemas `json:"properties"`
}

// schemaType is a type or a list of them ("string", ["string", "null"]).
type schemaType []string

func (t *schemaType) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(t))
	}
	var one string
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*t = schemaType{one}
	return nil
}

type orderedSchemas []namedSchema

type namedSchema struct {
	name   string
	schema schema
}

// UnmarshalJSON keeps the order of the properties, which a map would lose.
func (o *orderedSchemas) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return err
	}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		s := namedSchema{name: fmt.Sprint(tok)}
		if err := dec.Decode(&s.schema); err != nil {
			return err
		}
		*o = append(*o, s)
	}
	return nil
}

// declare writes the TypeScript declarations of the functions among the definitions, or nothing if there are none.
func declare(definitions []definition) string {
	var b strings.Builder
	for _, d := range definitions {
		if d.Function != nil {
			d = *d.Function
		}
		if d.Name == "" {
			continue // a tool that the provider runs; what it adds is not known here
		}
		if d.Description != "" {
			b.WriteString("// " + d.Description + "\n")
		}
		if d.Parameters == nil || len(d.Parameters.Properties) == 0 {
			b.WriteString("type " + d.Name + " = () => any;\n\n")
			continue
		}
		b.WriteString("type " + d.Name + " = (_: {\n")
		d.Parameters.declareProperties(&b, 0)
		b.WriteString("\n}) => any;\n\n")
	}
	if b.Len() == 0 {
		return ""
	}
	return "namespace functions {\n\n" + b.String() + "} // namespace functions"
}

func (s *schema) declareProperties(b *strings.Builder, indent int) {
	margin := strings.Repeat(" ", indent)
	for i, p := range s.Properties {
		if i > 0 {
			b.WriteByte('\n')
		}
		if p.schema.Description != "" && indent < 2 {
			b.WriteString(margin + "// " + p.schema.Description + "\n")
		}
		b.WriteString(margin + p.name)
		if !s.requires(p.name) {
			b.WriteByte('?')
		}
		b.WriteString(": ")
		p.schema.declareType(b, indent)
		b.WriteByte(',')
	}
}

func (s *schema) requires(name string) bool {
	for _, r := range s.Required {
		if r == name {
			return true
		}
	}
	return false
}

func (s *schema) declareType(b *strings.Builder, indent int) {
	if len(s.AnyOf) > 0 {
		for i := range s.AnyOf {
			if i > 0 {
				b.WriteString(" | ")
			}
			s.AnyOf[i].declareType(b, indent)
		}
		return
	}
	if len(s.Enum) > 0 {
		for i, v := range s.Enum {
			if i > 0 {
				b.WriteString(" | ")
			}
			quoted, _ := json.Marshal(v) // it came from JSON
			b.Write(quoted)
		}
		return
	}
	if len(s.Type) == 0 {
		b.WriteString("any")
	}
	for i, t := range s.Type {
		if i > 0 {
			b.WriteString(" | ")
		}
		switch t {
		case "integer":
			b.WriteString("number")
		case "object":
			b.WriteString("{\n")
			s.declareProperties(b, indent+2)
			b.WriteString("\n}")
		case "array":
			if s.Items == nil {
				b.WriteString("any[]")
			} else {
				s.Items.declareType(b, indent)
				b.WriteString("[]")
			}
		default:
			b.WriteString(t)
		}
	}
}
