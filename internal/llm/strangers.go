package llm

import (
	"log/slog"
	"net/http"
	"sync"
)

// strangers are the hosts that get calls of the provider's API and aren't limited, such as a proxy whose name the user
// forgot to give. Nothing else shows that its calls pass without limits.
type strangers struct {
	mu   sync.Mutex
	seen map[string]struct{}
}

// maxStrangers bounds the hosts that are warned of.
const maxStrangers = 100

// warn logs a host the first time that it is seen.
func (s *strangers) warn(r *http.Request) {
	s.mu.Lock()
	_, known := s.seen[r.URL.Host]
	if !known && len(s.seen) < maxStrangers {
		if s.seen == nil {
			s.seen = map[string]struct{}{}
		}
		s.seen[r.URL.Host] = struct{}{}
	} else {
		known = true
	}
	s.mu.Unlock()
	if !known {
		slog.WarnContext(r.Context(), "throttle: calls to this host are not limited: name it in the Transport's Hosts, or name those that are to be",
			"host", r.URL.Host, "path", r.URL.Path)
	}
}
