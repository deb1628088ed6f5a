//go:build unix

package filedriver_test

import (
	"bytes"
	"os"
	"strings"
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
	if !bytes.Contains(doc, append([]byte("```go\n"), code...)) {
		t.Error("docs/writing-a-driver.md shows another filedriver.go")
	}
	if lines := bytes.Count(code, []byte("\n")); lines >= 80 {
		t.Errorf("filedriver.go has %d lines, want less than 80", lines)
	}
	test, err := os.ReadFile("filedriver_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(test), "func TestConformance")
	if !bytes.Contains(doc, []byte(body)) {
		t.Error("docs/writing-a-driver.md shows another test")
	}
}
