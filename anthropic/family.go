package anthropic

import (
	"regexp"
	"strings"
)

// Family returns the name under which a model's limits are kept. Snapshots and aliases share the bucket of their model,
// and so do the models of one line and major version, whose limits Anthropic counts together ("Opus 4.x", "Sonnet 4.x").
//
//	claude-opus-4-1-20250805            claude-opus-4
//	claude-sonnet-4-5                   claude-sonnet-4
//	claude-3-7-sonnet-latest            claude-3-7-sonnet
//	anthropic.claude-sonnet-4-20250514-v1:0, claude-sonnet-4@20250514, anthropic/claude-sonnet-4
//	                                    claude-sonnet-4   (the spellings of Bedrock, Vertex and gateways)
//
// What it does not recognise it returns as it is, spaces around it removed.
//
// Source: Anthropic's rate limits page ("limits apply to combined traffic across …") and its models overview.
func Family(model string) string {
	name := strings.TrimSpace(model)
	lower := strings.ToLower(name)
	lower = strings.TrimPrefix(lower, "anthropic/")
	if _, rest, found := strings.Cut(lower, "anthropic."); found { // eu.anthropic.claude-…
		lower = rest
	}
	if !strings.HasPrefix(lower, "claude-") {
		return name
	}
	lower = bedrockVersion.ReplaceAllString(lower, "")
	lower = snapshot.ReplaceAllString(lower, "")
	lower = strings.TrimSuffix(lower, "-latest")
	return line.ReplaceAllString(lower, "$1")
}

var (
	bedrockVersion = regexp.MustCompile(`-v\d+(:\d+)?$`)
	snapshot       = regexp.MustCompile(`[-@](\d{8}|latest)$`)
	// line is a name of the present form: claude-opus-4-1, of which the minor version doesn't matter.
	line = regexp.MustCompile(`^(claude-[a-z]+-\d+)[-.]\d{1,2}$`)
)
