package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// tmux is a terminal that can be typed into, resized and looked at. Where there is no tmux, top in a real terminal isn't
// tested, and that is said loudly; with THROTTLE_TMUX=required it fails.
type tmux struct {
	t      *testing.T
	socket string
}

func newTmux(t *testing.T, columns, lines int, command string) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		text := "NO TMUX: top IS NOT TESTED IN A REAL TERMINAL. Install it (apt-get install tmux)."
		if os.Getenv("THROTTLE_TMUX") != "" {
			t.Fatal(text)
		}
		fmt.Fprintln(os.Stderr, "\n"+text+"\n")
		t.Skip(text)
	}
	m := &tmux{t, fmt.Sprintf("throttle-test-%d", os.Getpid())}
	m.do("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(lines), "-s", "s", command)
	t.Cleanup(func() { _ = exec.Command("tmux", "-L", m.socket, "kill-server").Run() })
	return m
}

func (m *tmux) do(args ...string) string {
	m.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-L", m.socket}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// until looks until the picture is right.
func (m *tmux) until(what string, right func(picture string) bool) string {
	m.t.Helper()
	picture := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if picture = m.do("capture-pane", "-p", "-t", "s"); right(picture) {
			return picture
		}
	}
	m.t.Fatalf("%s never comes; the terminal shows\n%s", what, picture)
	return ""
}

func TestTopInATerminal(t *testing.T) {
	m := newTmux(t, 120, 30, fmt.Sprintf("%s top --store %s --every 100ms; echo it ended with $?; exec sleep 60", binary, used(t)))
	m.until("the family", func(p string) bool {
		return strings.Contains(p, "a-family") && strings.Contains(p, "tokens/day") && strings.Contains(p, "600k of 1M") && strings.Contains(p, "q quit")
	})
	fits := func(columns, lines int) func(string) bool {
		return func(p string) bool {
			rows := strings.Split(strings.TrimRight(p, "\n"), "\n")
			for _, row := range rows {
				if utf8.RuneCountInString(row) > columns {
					return false
				}
			}
			return len(rows) <= lines && strings.Contains(p, "q quit") && strings.HasPrefix(p, "throttle top") && strings.Contains(p, "a-family")
		}
	}
	for _, size := range [][2]int{{60, 12}, {40, 6}, {200, 50}} {
		m.do("resize-window", "-t", "s", "-x", fmt.Sprint(size[0]), "-y", fmt.Sprint(size[1]))
		m.until(fmt.Sprintf("a picture of %v", size), fits(size[0], size[1]))
	}
	m.do("send-keys", "-t", "s", "/", "x", "y", "z", "Enter")
	m.until("an empty list", func(p string) bool { return strings.Contains(p, "No family's name contains xyz.") })
	m.do("send-keys", "-t", "s", "Escape")
	m.until("the family again", func(p string) bool { return strings.Contains(p, "a-family") })
	m.do("send-keys", "-t", "s", "q")
	m.until("the end", func(p string) bool {
		return strings.Contains(p, "it ended with 0") && !strings.Contains(p, "a-family")
	})
}
