package openai

import (
	"regexp"
	"strings"
)

// Family returns the name under which a model's limits are kept: dated snapshots, previews of one model, fine-tuned
// models and other spellings share the bucket of the model they stand for, because the provider counts them together.
//
//	gpt-4o-2024-08-06                              gpt-4o
//	gpt-4o-mini-2024-07-18                         gpt-4o-mini
//	ft:gpt-4o-mini-2024-07-18:acme::9aBcD          gpt-4o-mini
//	openai/gpt-4.1                                 gpt-4.1
//	gpt-35-turbo-16k                               gpt-3.5-turbo-16k   (Azure's spelling)
//	gpt-4-1106-preview, gpt-4-turbo-preview        gpt-4-turbo
//
// What it does not recognise as a name of OpenAI's (an Azure deployment that was named freely, another vendor's model
// behind a compatible server) it returns as it is, spaces around it removed: such a name has limits of its own. The
// empty name is the empty family.
//
// Sources: OpenAI's models page (aliases and snapshots), its rate limits guide ("shared limits" of a model family), its
// fine-tuning guide (names of fine-tuned models).
func Family(model string) string {
	name := strings.TrimSpace(model)
	lower := strings.ToLower(name)
	for _, prefix := range []string{"openai/", "azure/", "azure_ai/", "azure-openai/", "models/"} {
		lower = strings.TrimPrefix(lower, prefix)
	}
	if base, isTuned := strings.CutPrefix(lower, "ft:"); isTuned {
		lower, _, _ = strings.Cut(base, ":")
	} else if base, _, isTuned := strings.Cut(lower, ":ft-"); isTuned {
		lower = base // names of fine-tuned models before August 2023: curie:ft-acme-2023-03-03-21-44-20
	}
	for azure, plain := range azureSpellings {
		if rest, found := strings.CutPrefix(lower, azure); found {
			lower = plain + rest
			break
		}
	}
	if !ownName.MatchString(lower) {
		return name
	}
	if gpt4Turbo.MatchString(lower) {
		return "gpt-4-turbo"
	}
	lower = snapshot.ReplaceAllString(lower, "")
	return strings.TrimSuffix(lower, "-latest")
}

// Azure allows no dot in the name of a deployment, and its models page spells one model without it.
var azureSpellings = map[string]string{
	"gpt-35-": "gpt-3.5-",
	"gpt-41":  "gpt-4.1",
	"gpt-45-": "gpt-4.5-",
}

var (
	// ownName matches the names that OpenAI gives its models.
	ownName = regexp.MustCompile(`^(gpt-|chatgpt-|o[1-9](-|$)|codex-|computer-use-|text-|code-|davinci|curie|babbage|ada(-|$)|` +
		`omni-moderation|whisper-|tts-|dall-e-|sora-)`)
	// snapshot matches a date at the end: -2024-08-06, -0613, -20240806.
	snapshot  = regexp.MustCompile(`-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$`)
	gpt4Turbo = regexp.MustCompile(`^gpt-4-(turbo(-preview|-\d{4}-\d{2}-\d{2}|-\d{4})?|(1106|0125)-preview)$`)
)
