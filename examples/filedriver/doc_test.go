//go:build unix

package filedriver_test

import (
	"bytes"
	"os"
	"testing"
)

// TestDocumented holds docs/writing-a-driver.md to what it shows, and to its length.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/writing-a-driver.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("filedriver.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(code, []byte("\n")); lines >= 80 {
		t.Errorf("filedriver.go has %d lines, want less than 80", lines)
	}
	test, err := os.ReadFile("filedriver_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"filedriver.go": code, "filedriver_test.go": test} {
		_, shown, _ := bytes.Cut(text, []byte("\npackage ")) // without the build tag
		if !bytes.Contains(doc, append([]byte("```go\npackage "), shown...)) {
			t.Errorf("docs/writing-a-driver.md shows another %s", name)
		}
	}
}
