package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	sdkanthropic "github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	sdkopenai "github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/openai"
)

// client is an SDK and one way to use it.
type client struct {
	name         string
	model        string
	limits       provider.Limits
	callsAMinute int // about as many as the limits allow
	count        func(model, text string) int
	// connect gives the SDK the transport and returns a call.
	connect func(s *site) func(ctx context.Context, prompt string, streaming bool) error
}

const maxTokens = 300

func clients() []client {
	tokens := provider.Limits{RequestsPerMinute: 100_000, TokensPerMinute: 72_000}
	return []client{
		{"openai-go chat", "gpt-4o-mini", tokens, 780, openai.Tiktoken{}.Count, connectChat},
		{"openai-go responses", "gpt-4o-mini", tokens, 780, openai.Tiktoken{}.Count, connectResponses},
		{"anthropic-sdk-go", "claude-sonnet-4-5", provider.Limits{RequestsPerMinute: 100_000, InputTokensPerMinute: 1_000_000, OutputTokensPerMinute: 60_000},
			800, quarter, connectMessages},
	}
}

// quarter is another rule than the one that the limiter estimates by, as Anthropic's would be.
func quarter(_, text string) int { return (len(text) + 3) / 4 }

// newOpenAI is the official SDK with throttle's transport: the one line is WithHTTPClient.
func newOpenAI(s *site) sdkopenai.Client {
	transport := &openai.Transport{Limiter: s.limiter, Base: s.base.Transport, Hosts: []string{s.host}}
	return sdkopenai.NewClient(
		openaioption.WithBaseURL(s.URL+"/v1"), openaioption.WithAPIKey("sk-simulated"),
		openaioption.WithHTTPClient(&http.Client{Transport: transport}),
	)
}

func connectChat(s *site) func(context.Context, string, bool) error {
	c := newOpenAI(s)
	return func(ctx context.Context, prompt string, streaming bool) error {
		params := sdkopenai.ChatCompletionNewParams{
			Model: sdkopenai.ChatModelGPT4oMini, MaxCompletionTokens: sdkopenai.Int(maxTokens),
			Messages: []sdkopenai.ChatCompletionMessageParamUnion{sdkopenai.UserMessage(prompt)},
		}
		if !streaming {
			answer, err := c.Chat.Completions.New(ctx, params)
			if err == nil && answer.Choices[0].Message.Content == "" {
				err = errEmpty
			}
			return err
		}
		params.StreamOptions.IncludeUsage = sdkopenai.Bool(true)
		stream := c.Chat.Completions.NewStreaming(ctx, params)
		text := 0
		for stream.Next() {
			for _, choice := range stream.Current().Choices {
				text += len(choice.Delta.Content)
			}
		}
		return finish(stream.Err(), stream.Close(), text)
	}
}

func connectResponses(s *site) func(context.Context, string, bool) error {
	c := newOpenAI(s)
	return func(ctx context.Context, prompt string, streaming bool) error {
		params := responses.ResponseNewParams{
			Model: sdkopenai.ChatModelGPT4oMini, MaxOutputTokens: sdkopenai.Int(maxTokens),
			Input: responses.ResponseNewParamsInputUnion{OfString: sdkopenai.String(prompt)},
		}
		if !streaming {
			answer, err := c.Responses.New(ctx, params)
			if err == nil && answer.OutputText() == "" {
				err = errEmpty
			}
			return err
		}
		stream := c.Responses.NewStreaming(ctx, params)
		text := 0
		for stream.Next() {
			if e := stream.Current(); e.Type == "response.output_text.delta" {
				text += len(e.Delta)
			}
		}
		return finish(stream.Err(), stream.Close(), text)
	}
}

func connectMessages(s *site) func(context.Context, string, bool) error {
	transport := &anthropic.Transport{Limiter: s.limiter, Base: s.base.Transport, Hosts: []string{s.host}}
	c := sdkanthropic.NewClient(
		anthropicoption.WithBaseURL(s.URL), anthropicoption.WithAPIKey("sk-ant-simulated"),
		anthropicoption.WithHTTPClient(&http.Client{Transport: transport}),
		// Left alone, the SDK allows a call of 300 tokens 8.4 seconds, and waiting for capacity is part of a call.
		anthropicoption.WithRequestTimeout(10*time.Minute),
	)
	return func(ctx context.Context, prompt string, streaming bool) error {
		params := sdkanthropic.MessageNewParams{
			Model: "claude-sonnet-4-5", MaxTokens: maxTokens,
			Messages: []sdkanthropic.MessageParam{sdkanthropic.NewUserMessage(sdkanthropic.NewTextBlock(prompt))},
		}
		if !streaming {
			answer, err := c.Messages.New(ctx, params)
			if err == nil && answer.Content[0].Text == "" {
				err = errEmpty
			}
			return err
		}
		stream := c.Messages.NewStreaming(ctx, params)
		text := 0
		for stream.Next() {
			if e := stream.Current(); e.Type == "content_block_delta" {
				text += len(e.Delta.Text)
			}
		}
		return finish(stream.Err(), stream.Close(), text)
	}
}

var errEmpty = errors.New("the answer is empty")

func finish(err, closeErr error, text int) error {
	if err == nil && text == 0 {
		err = errEmpty
	}
	return errors.Join(err, closeErr)
}
