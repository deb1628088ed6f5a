package redis

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/internal/redisscript"
	"github.com/tokenthrottle/throttle/internal/vectors"
)

// TestScriptFulfilsTheVectors runs the golden vectors of the arithmetic through the script.
func TestScriptFulfilsTheVectors(t *testing.T) {
	all, err := vectors.Load("../../../bucket/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	s := newScripted(t, redisscript.Source())
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			if err := s.reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			for k := range v.Steps {
				s.fulfil(t, k, &v.Steps[k])
			}
		})
	}
}

func (s *scripted) fulfil(t *testing.T, k int, step *vectors.Step) {
	t.Helper()
	r, err := step.Request()
	if err != nil {
		t.Fatal(err)
	}
	results, after, _, err := s.call(t.Context(), step.Now, r, [][]bucket.Op{r.Ops})
	if err != nil {
		t.Fatalf("step %d: %v", k, err)
	}
	if got, want := asText(t, vectors.ResultsOf(results)), asText(t, step.Want); got != want {
		t.Errorf("step %d: results %s\nwant %s", k, got, want)
	}
	if after[0].AbsentAt != step.Absent {
		t.Errorf("step %d: absent at %d, want %d", k, after[0].AbsentAt, step.Absent)
	}
	stored, err := s.stored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state := &bucket.State{}
	if stored != "" {
		if state, err = redisscript.DecodeState(stored); err != nil {
			t.Fatalf("step %d: %v", k, err)
		}
	}
	if got := state.Encode(nil); !bytes.Equal(got, step.State) {
		t.Errorf("step %d: state %s\nwant %s", k, got, step.State)
	}
}

func asText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
