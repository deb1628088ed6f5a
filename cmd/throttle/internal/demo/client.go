package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// client calls the provider.
type client struct {
	url  string
	http *http.Client
}

func newClient(url string) *client {
	return &client{url, &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     time.Minute,
	}}}
}

// errRefused is a 429.
var errRefused = errors.New("refused for its rate")

// send sends a chat request and returns the tokens it used.
func (c *client) send(ctx context.Context, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	answer, status, err := c.do(req)
	switch {
	case err != nil:
		return 0, err
	case status == http.StatusTooManyRequests:
		return 0, errRefused
	case status != http.StatusOK:
		return 0, fmt.Errorf("status %d: %.200s", status, answer)
	}
	var reply struct {
		Usage struct {
			TotalTokens int `json:"total_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return 0, fmt.Errorf("answer: %w", err)
	}
	return reply.Usage.TotalTokens, nil
}

func (c *client) do(req *http.Request) (body []byte, status int, err error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, resp.StatusCode, err
}

// warm opens connections before the clock starts, with calls that no limit counts.
func (c *client) warm(ctx context.Context, connections int) error {
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/v1/models", nil)
			if err == nil {
				_, _, err = c.do(req)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
