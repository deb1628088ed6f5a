package redisscript

import (
	"regexp"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

func TestAboutTellsARepeat(t *testing.T) {
	now := bucket.Micros(7)
	for _, c := range []struct {
		name         string
		about        *About
		first, again string
	}{
		{"first time", &About{Prefix: 3, Since: 1}, "\x03\x00", "\x03\x00" + "\x00\x00\x00\x00\x00\x00\xf0\x3f"},
		{"repeat", &About{Prefix: 3, Retry: true, Since: 1}, "\x03\x00" + "\x00\x00\x00\x00\x00\x00\xf0\x3f", "\x03\x00" + "\x00\x00\x00\x00\x00\x00\xf0\x3f"},
		{"another clock", &About{Now: &now}, "\x00\x00" + "\x00\x00\x00\x00\x00\x00\xf0\xbf" + "\x00\x00\x00\x00\x00\x00\x1c\x40", "\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x1c\x40"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, want := range []string{c.first, c.again, c.again} {
				got, err := c.about.MarshalBinary()
				if err != nil || string(got) != want {
					t.Errorf("sending %d: %q, %v, want %q", i, got, err, want)
				}
				if c.about.Sent() != i+1 {
					t.Errorf("sent %d times, want %d", c.about.Sent(), i+1)
				}
			}
			if c.about.Withdraw() {
				t.Error("a call that was sent could be withdrawn")
			}
		})
	}
	withdrawn := &About{}
	for range 2 {
		if !withdrawn.Withdraw() {
			t.Error("a call that wasn't sent couldn't be withdrawn")
		}
	}
	if _, err := withdrawn.MarshalBinary(); err != ErrWithdrawn || withdrawn.Sent() != 0 {
		t.Errorf("a call that was withdrawn could be sent: %v", err)
	}
}

var word = regexp.MustCompile(`\b[A-Z][A-Z_]+\b`)

// TestSourceIsCompact makes sure that no constant is left by name, which the server would not know.
func TestSourceIsCompact(t *testing.T) {
	for line := range strings.Lines(Source()) {
		code := line
		for { // but for what stands in quotes
			from := strings.IndexByte(code, '\'')
			if from < 0 {
				break
			}
			to := strings.IndexByte(code[from+1:], '\'')
			if to < 0 {
				break
			}
			code = code[:from] + code[from+to+2:]
		}
		for _, name := range word.FindAllString(code, -1) {
			if name != "KEYS" && name != "ARGV" && name != "_G" {
				t.Errorf("%s is left in %q", name, line)
			}
		}
	}
	if len(Source()) > 80<<10 {
		t.Errorf("the script has %d bytes", len(Source()))
	}
}

func FuzzDecodeState(f *testing.F) {
	l, err := bucket.NewLimits(bucket.Quota{Resource: "r", Limit: 1, Per: 1}, bucket.Quota{Resource: "s", Limit: 2, Per: 3})
	if err != nil {
		f.Fatal(err)
	}
	head := string(appendLimits(nil, l))
	f.Add(head + "\x00" + strings.Repeat("\x00", 40) + "\x00")
	f.Add(head + "\x04" + strings.Repeat("\x00", 40) + "\x00" + strings.Repeat("\xff", 100))
	f.Add("tb\x01\xff")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := DecodeState(text); err == nil && s == nil {
			t.Error("neither a state nor an error")
		}
		a := ReadAnswer(text)
		a.Part(l, make([]bucket.Op, 3), make([]bucket.Result, 3), false)
		a.Part(nil, nil, nil, true)
		_ = a.Err() // what it says of nonsense is that it is nonsense
	})
}
