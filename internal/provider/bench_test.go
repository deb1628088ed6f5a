package provider

import (
	"fmt"
	"sync/atomic"
	"testing"
)

func BenchmarkChatOverHTTP(b *testing.B) {
	s, err := Start(Config{Default: Limits{RequestsPerMinute: 1e12, TokensPerMinute: 1e15}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	client := s.Client()
	defer client.CloseIdleConnections()
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			body := chatBody(fmt.Sprint(n.Add(1)), `,"max_tokens":200`)
			if status, answer, err := post(client, s.URL+"/v1/chat/completions", body); err != nil || status != 200 {
				b.Errorf("status %d, error %v: %s", status, err, answer)
				return
			}
		}
	})
}
