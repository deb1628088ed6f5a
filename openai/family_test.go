package openai

import "testing"

func TestFamily(t *testing.T) {
	for model, want := range map[string]string{
		"gpt-4o":                                "gpt-4o",
		"gpt-4o-2024-05-13":                     "gpt-4o",
		"gpt-4o-2024-11-20":                     "gpt-4o",
		"gpt-4o-mini":                           "gpt-4o-mini",
		"gpt-4o-mini-2024-07-18":                "gpt-4o-mini",
		"gpt-4o-audio-preview-2024-12-17":       "gpt-4o-audio-preview",
		"gpt-4o-mini-search-preview-2025-03-11": "gpt-4o-mini-search-preview",
		"chatgpt-4o-latest":                     "chatgpt-4o",
		"gpt-4.1-2025-04-14":                    "gpt-4.1",
		"gpt-4.1-mini-2025-04-14":               "gpt-4.1-mini",
		"gpt-4.5-preview-2025-02-27":            "gpt-4.5-preview",
		"gpt-5-2025-08-07":                      "gpt-5",
		"gpt-5-mini":                            "gpt-5-mini",
		"gpt-5-chat-latest":                     "gpt-5-chat",
		"gpt-5.1-codex-mini":                    "gpt-5.1-codex-mini",
		"gpt-4":                                 "gpt-4",
		"gpt-4-0613":                            "gpt-4",
		"gpt-4-0314":                            "gpt-4",
		"gpt-4-32k-0613":                        "gpt-4-32k",
		"gpt-4-turbo":                           "gpt-4-turbo",
		"gpt-4-turbo-2024-04-09":                "gpt-4-turbo",
		"gpt-4-turbo-preview":                   "gpt-4-turbo",
		"gpt-4-1106-preview":                    "gpt-4-turbo",
		"gpt-4-0125-preview":                    "gpt-4-turbo",
		"gpt-4-1106-vision-preview":             "gpt-4-1106-vision-preview",
		"gpt-3.5-turbo-0125":                    "gpt-3.5-turbo",
		"gpt-3.5-turbo-16k-0613":                "gpt-3.5-turbo-16k",
		"gpt-3.5-turbo-instruct-0914":           "gpt-3.5-turbo-instruct",
		"o1-2024-12-17":                         "o1",
		"o1-preview-2024-09-12":                 "o1-preview",
		"o3-mini-2025-01-31":                    "o3-mini",
		"o3-deep-research-2025-06-26":           "o3-deep-research",
		"o4-mini":                               "o4-mini",
		"text-embedding-3-small":                "text-embedding-3-small",
		"text-embedding-ada-002":                "text-embedding-ada-002",
		"omni-moderation-latest":                "omni-moderation",
		"omni-moderation-2024-09-26":            "omni-moderation",
		"davinci-002":                           "davinci-002",
		"dall-e-3":                              "dall-e-3",
		"whisper-1":                             "whisper-1",

		// Fine-tuned models share the limits of their base.
		"ft:gpt-4o-mini-2024-07-18:acme::9aBcD":               "gpt-4o-mini",
		"ft:gpt-4o-2024-08-06:acme:suffix:9aBcD:ckpt-step-90": "gpt-4o",
		"ft:gpt-3.5-turbo-0125:acme::x":                       "gpt-3.5-turbo",
		"ft:babbage-002:acme::x":                              "babbage-002",
		"curie:ft-acme-2023-03-03-21-44-20":                   "curie",

		// Prefixes and spellings of gateways and Azure.
		"openai/gpt-4o-2024-08-06":        "gpt-4o",
		"openai/o3":                       "o3",
		"azure/gpt-4.1":                   "gpt-4.1",
		"openai/ft:gpt-4.1-mini:acme::id": "gpt-4.1-mini",
		"gpt-35-turbo":                    "gpt-3.5-turbo",
		"gpt-35-turbo-16k-0613":           "gpt-3.5-turbo-16k",
		"gpt-41-mini":                     "gpt-4.1-mini",
		" GPT-4o ":                        "gpt-4o",

		// What is not OpenAI's own name stays what it is.
		"":                            "",
		"prod-chat-eu":                "prod-chat-eu",
		"my-gpt4o":                    "my-gpt4o",
		"meta-llama/Llama-3.1-8B":     "meta-llama/Llama-3.1-8B",
		"anthropic/claude-sonnet-4-5": "anthropic/claude-sonnet-4-5",
		"claude-3-5-sonnet-20241022":  "claude-3-5-sonnet-20241022",
		"mistral-large-2411":          "mistral-large-2411",
		"o":                           "o",
		"o10":                         "o10",
		"adaptive-router":             "adaptive-router",
	} {
		if got := Family(model); got != want {
			t.Errorf("Family(%q) = %q, want %q", model, got, want)
		}
		if got := Family(Family(model)); got != Family(model) {
			t.Errorf("Family is not idempotent: %q, then %q", Family(model), got)
		}
	}
}
