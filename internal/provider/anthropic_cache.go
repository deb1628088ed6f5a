package provider

import (
	"encoding/json"
	"hash/fnv"
	"sync"
	"time"
)

// segment is a part of a prompt in the order in which caching sees it: tools, system, messages.
type segment struct {
	text   string
	tokens int64
	mark   bool // has cache_control: the prompt up to here may be cached
}

// cacheable is a block as far as caching is concerned.
type cacheable struct {
	CacheControl *json.RawMessage `json:"cache_control"`
}

// segments splits the prompt of req.
func (p *Provider) segments(req *messagesRequest) []segment {
	var all []segment
	add := func(text string, overhead int64, block json.RawMessage) {
		var c cacheable
		// A block that is a plain string has no cache_control.
		_ = json.Unmarshal(block, &c)
		all = append(all, segment{text, overhead + int64(p.cfg.Count(req.Model, text)), c.CacheControl != nil})
	}
	for _, tool := range req.Tools {
		add(string(tool), 0, tool)
	}
	for _, block := range blocks(req.System) {
		add(blockText(block), 0, block)
	}
	for _, m := range req.Messages {
		overhead := int64(tokensPerMessage)
		for _, block := range blocks(m.Content) {
			add(m.Role+"\n"+blockText(block), overhead, block)
			overhead = 0
		}
	}
	return all
}

// blocks is content as a list: a string is a list of one.
func blocks(content json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(content, &list) == nil {
		return list
	}
	if len(content) == 0 {
		return nil
	}
	return []json.RawMessage{content}
}

// blockText is the text of a block, or the block itself where it is something else: an image, a tool's result.
func blockText(block json.RawMessage) string {
	var text string
	if json.Unmarshal(block, &text) == nil {
		return text
	}
	var b contentBlock
	if json.Unmarshal(block, &b) == nil && b.Type == "text" {
		return b.Text
	}
	return string(block)
}

// promptCache remembers which prompts were cached. The zero value is empty.
type promptCache struct {
	life time.Duration // of an entry after its last use: five minutes

	mu      sync.Mutex
	expires map[uint64]time.Time // by hash of model and prompt
}

// inputSplit is how a prompt's tokens are counted.
type inputSplit struct{ input, creation, read int64 }

func (s inputSplit) usage() messageUsage {
	return messageUsage{
		InputTokens: s.input, CacheCreationInputTokens: s.creation, CacheReadInputTokens: s.read,
		CacheCreation: cacheCreation{FiveMinutes: s.creation}, ServiceTier: "standard",
	}
}

// look splits a prompt: up to the last mark that is cached it is read, up to the last mark it is created, the rest is
// input.
func (c *promptCache) look(model string, segments []segment, now time.Time) inputSplit {
	c.mu.Lock()
	defer c.mu.Unlock()
	var total, marked, read int64
	walk(model, segments, func(s segment, prefix uint64) {
		total += s.tokens
		if s.mark {
			marked = total
			if now.Before(c.expires[prefix]) {
				read = total
			}
		}
	})
	return inputSplit{input: total - marked, creation: marked - read, read: read}
}

// maxCached bounds the memory of the cache, in entries.
const maxCached = 100_000

// keep remembers every marked prefix of an accepted prompt.
func (c *promptCache) keep(model string, segments []segment, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expires == nil || len(c.expires) > maxCached {
		c.expires = map[uint64]time.Time{}
	}
	walk(model, segments, func(s segment, prefix uint64) {
		if s.mark {
			c.expires[prefix] = now.Add(c.life)
		}
	})
}

// walk calls f for each segment with the hash of the model and the prompt up to it.
func walk(model string, segments []segment, f func(s segment, prefix uint64)) {
	h := fnv.New64a()
	write := func(s string) {
		_, _ = h.Write([]byte(s)) // never fails, says package hash
		_, _ = h.Write([]byte{0})
	}
	write(model)
	for _, s := range segments {
		write(s.text)
		f(s, h.Sum64())
	}
}
