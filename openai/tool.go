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
	toolChoiceFunction = 4 // beside the function's name
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
	Title       string         `json:"title"`
	Description string         `json:"description"`
	Default     any            `json:"default"`
	Ref         string         `json:"$ref"`
	Defs        orderedSchemas `json:"$defs"`
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
		b.WriteString("type " + d.Name + " = (_: ")
		p := printer{Builder: &b, defs: d.Parameters.Defs}
		if d.Parameters.Title != "" { // without one the description isn't shown either
			p.comment(d.Parameters, 0)
		}
		b.WriteString("{\n")
		p.properties(d.Parameters, 0)
		b.WriteString("\n}) => any;\n\n")
	}
	if b.Len() == 0 {
		return ""
	}
	return "namespace functions {\n\n" + b.String() + "} // namespace functions"
}

// printer writes a schema as a TypeScript type.
type printer struct {
	*strings.Builder
	defs  orderedSchemas
	depth int // of references that are being followed
}

// Bounds on what a few definitions that refer to each other can grow to.
const (
	maxReferences  = 8
	maxDeclaration = 1 << 20 // bytes
)

// comment writes what the schema says of itself.
func (p *printer) comment(s *schema, indent int) {
	margin := strings.Repeat(" ", indent)
	if s.Title != "" {
		p.WriteString(margin + "// " + s.Title + "\n")
		if s.Description != "" {
			p.WriteString(margin + "//\n")
		}
	}
	if s.Description != "" {
		p.WriteString(margin + "// " + s.Description + "\n")
	}
}

func (p *printer) properties(s *schema, indent int) {
	margin := strings.Repeat(" ", indent)
	for i, field := range s.Properties {
		if i > 0 {
			p.WriteByte('\n')
		}
		if indent < 2 {
			p.comment(&field.schema, indent)
		}
		p.WriteString(margin + field.name)
		if !s.requires(field.name) {
			p.WriteByte('?')
		}
		p.WriteString(": ")
		p.typeOf(&field.schema, indent)
		p.WriteByte(',')
		if field.schema.Default != nil {
			value, _ := json.Marshal(field.schema.Default) // it came from JSON
			p.WriteString(" // default: " + string(value))
		}
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

func (p *printer) typeOf(s *schema, indent int) {
	switch {
	case p.Len() > maxDeclaration:
	case s.Ref != "":
		p.reference(s.Ref, indent)
	case len(s.AnyOf) > 0:
		for i := range s.AnyOf {
			p.or(i)
			p.typeOf(&s.AnyOf[i], indent)
		}
	case len(s.Enum) > 0:
		for i, v := range s.Enum {
			p.or(i)
			quoted, _ := json.Marshal(v) // it came from JSON
			p.Write(quoted)
		}
	case len(s.Type) == 0:
		p.WriteString("any")
	default:
		for i, t := range s.Type {
			p.or(i)
			p.named(s, t, indent)
		}
	}
}

// or separates alternatives.
func (p *printer) or(i int) {
	if i > 0 {
		p.WriteString(" | ")
	}
}

// named writes the type that a schema's "type" names.
func (p *printer) named(s *schema, name string, indent int) {
	switch name {
	case "integer":
		p.WriteString("number")
	case "object":
		p.WriteString("{\n")
		p.properties(s, indent+2)
		p.WriteString("\n}")
	case "array":
		if s.Items == nil {
			p.WriteString("any[]")
			return
		}
		p.typeOf(s.Items, indent)
		p.WriteString("[]")
	default:
		p.WriteString(name)
	}
}

// reference writes the definition that "#/$defs/Name" refers to in place, as far as references don't go in circles.
func (p *printer) reference(ref string, indent int) {
	name := ref[strings.LastIndexByte(ref, '/')+1:]
	for i := range p.defs {
		if p.defs[i].name == name && p.depth < maxReferences {
			p.depth++
			p.typeOf(&p.defs[i].schema, indent)
			p.depth--
			return
		}
	}
	p.WriteString(name)
}
