package provider

// messageEvent is any event of a stream; which fields it has depends on its type.
type messageEvent struct {
	Type         string        `json:"type"`
	Message      *message      `json:"message,omitempty"`
	Index        *int          `json:"index,omitempty"`
	ContentBlock *contentBlock `json:"content_block,omitempty"`
	Delta        any           `json:"delta,omitempty"`
	Usage        *usageSoFar   `json:"usage,omitempty"`
}

type textDelta struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type stopDelta struct {
	StopReason   string  `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
}

// usageSoFar is the usage in message_delta: the whole of it, not what was added.
type usageSoFar struct {
	InputTokens              int64 `json:"input_tokens"`
	CacheCreationInputTokens int64 `json:"cache_creation_input_tokens"`
	CacheReadInputTokens     int64 `json:"cache_read_input_tokens"`
	OutputTokens             int64 `json:"output_tokens"`
}

// streamMessage sends the events of a message with one block of text.
func (x *exchange) streamMessage(m message, a answer) {
	ev := x.stream()
	zero := 0
	send := func(events ...messageEvent) error {
		for _, e := range events {
			if err := ev.send(e.Type, e); err != nil {
				return err
			}
		}
		return nil
	}
	opened := false
	err := x.produce(a, func(first, end int64) error {
		if !opened {
			opened = true
			// The first event already counts the first token, as recorded answers do.
			m.Usage.OutputTokens = 1
			if err := send(
				messageEvent{Type: "message_start", Message: &m},
				messageEvent{Type: "content_block_start", Index: &zero, ContentBlock: &contentBlock{Type: "text"}},
				messageEvent{Type: "ping"},
			); err != nil {
				return err
			}
		}
		x.generated(end - first)
		delta := textDelta{"text_delta", a.text(0, first, end)}
		if err := send(messageEvent{Type: "content_block_delta", Index: &zero, Delta: delta}); err != nil {
			return err
		}
		return x.cutAt(a, end)
	})
	x.abortOn(err)
	x.settle()
	usage := usageSoFar{
		m.Usage.InputTokens, m.Usage.CacheCreationInputTokens, m.Usage.CacheReadInputTokens, a.tokens,
	}
	// Where this fails the client has left, and there is nobody left to tell.
	_ = send(
		messageEvent{Type: "content_block_stop", Index: &zero},
		messageEvent{Type: "message_delta", Delta: stopDelta{StopReason: "end_turn"}, Usage: &usage},
		messageEvent{Type: "message_stop"})
}
