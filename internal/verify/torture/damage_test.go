package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// What differs from the truth is seen, be it a whole file that is in order and old, or a single entry.
func TestDamageWithoutAWordIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: booked.Limit, Per: bucket.MaxSpan, Burst: burst})
	if err != nil {
		t.Fatal(err)
	}
	older, whole, truth, err := wholeFile(path, limits)
	if err != nil {
		t.Fatal(err)
	}
	if wrong, err := inspectDamaged(path, whole, limits, truth); wrong != "" || err != nil {
		t.Errorf("a whole file: %s, error %v", wrong, err)
	}
	if wrong, err := inspectDamaged(path, older, limits, truth); wrong == "" || err != nil {
		t.Errorf("an old file: found nothing, error %v", err)
	}
	all := ""
	for _, v := range truth.entries {
		all += v
	}
	for _, want := range []string{`"place 11"`, `"blocked`, `"over_limit":`} {
		if !strings.Contains(all, want) {
			t.Errorf("no key has %s", want)
		}
	}
	for _, got := range []map[string]string{{"a": "1"}, {"a": "1", "b": "3"}, {"a": "1", "b": "2", "c": "3"}} {
		if differ(got, map[string]string{"a": "1", "b": "2"}) == "" {
			t.Errorf("%v: no difference", got)
		}
	}
}
