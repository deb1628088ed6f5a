package batchfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	big := strings.Repeat("x", 600<<10)
	long := strings.Repeat("y", 1<<20)
	in := "\xef\xbb\xbfone\r\n\n" + big + "\n" + long + "\nlast"
	lines := NewLines(strings.NewReader(in), 700<<10)
	type got struct {
		number int
		text   string
		whole  bool
		long   bool
	}
	var all []got
	for {
		l, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		var tooLong *LongLineError
		if errors.As(err, &tooLong) {
			all = append(all, got{number: tooLong.Number, long: true})
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got{l.Number, string(l.Text), l.Whole, false})
		if l.Text = l.Text[:0]; l.End > int64(len(in)) {
			t.Errorf("line %d ends at %d of %d", l.Number, l.End, len(in))
		}
	}
	want := []got{{1, "one", true, false}, {2, "", true, false}, {3, big, true, false}, {4, "", false, true}, {5, "last", false, false}}
	if len(all) != len(want) {
		t.Fatalf("%d lines, want %d", len(all), len(want))
	}
	for i := range want {
		if all[i] != want[i] {
			t.Errorf("line %d: number %d, %d bytes, whole %v, long %v", i+1, all[i].number, len(all[i].text), all[i].whole, all[i].long)
		}
	}
}

func TestLinesOffsetsAddUp(t *testing.T) {
	in := "\xef\xbb\xbfa\nbb\r\n\nccc"
	lines := NewLines(strings.NewReader(in), 10)
	var ends []int64
	for {
		l, err := lines.Next()
		if err != nil {
			break
		}
		ends = append(ends, l.End)
	}
	if want := "[5 9 10 13]"; fmt.Sprint(ends) != want {
		t.Errorf("ends %v, want %s", ends, want)
	}
}

func TestParseRequest(t *testing.T) {
	const good = `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}`
	r, err := ParseRequest(Line{Number: 1, Text: []byte(good)})
	if err != nil || r.CustomID != "a" || r.URL != "/v1/chat/completions" || string(r.Body) != `{"model":"m"}` {
		t.Errorf("%+v, %v", r, err)
	}
	for _, c := range []struct{ line, code, param string }{
		{``, CodeJSON, ""},
		{`{"custom_id":"a"`, CodeJSON, ""},
		{`[1]`, CodeJSON, ""},
		{`null`, CodeMissing, "custom_id"},
		{`{"custom_id":7}`, CodeJSON, "custom_id"},
		{good + good, CodeJSON, ""},
		{strings.Replace(good, `"a"`, `""`, 1), CodeMissing, "custom_id"},
		{strings.Replace(good, "POST", "GET", 1), CodeMethod, "method"},
		{strings.Replace(good, `{"model":"m"}`, `"text"`, 1), CodeMissing, "body"},
		{strings.Replace(good, `{"model":"m"}`, `null`, 1), CodeMissing, "body"},
		{strings.Replace(good, `"/v1`, `"https://evil.example/v1`, 1), CodeURL, "url"},
		{strings.Replace(good, `"/v1`, `"//evil.example/v1`, 1), CodeURL, "url"},
		{strings.Replace(good, `"/v1`, `"@evil.example/v1`, 1), CodeURL, "url"},
		{strings.Replace(good, `chat/completions`, `files`, 1), CodeURL, "url"},
		{strings.Replace(good, `"m"`, `"m","stream":true`, 1), CodeStream, "body.stream"},
	} {
		_, err := ParseRequest(Line{Number: 9, Text: []byte(c.line)})
		var rj *Reject
		if !errors.As(err, &rj) {
			t.Errorf("%s: error %v, want a reject", c.line, err)
			continue
		}
		param := ""
		if rj.Param != nil {
			param = *rj.Param
		}
		if rj.Code != c.code || param != c.param || rj.Line != 9 || rj.Message == "" {
			t.Errorf("%s: %+v, want code %s and param %q", c.line, rj, c.code, c.param)
		}
	}
	for _, stream := range []string{`"stream":false`, `"stream":null`, `"x":"\"stream\""`} {
		if _, err := ParseRequest(Line{Number: 1, Text: []byte(strings.Replace(good, `"m"`, `"m",`+stream, 1))}); err != nil {
			t.Errorf("%s: %v", stream, err)
		}
	}
}

func ok(id string) *Result {
	return &Result{CustomID: id, Response: &Response{StatusCode: 200, RequestID: "req_1", Body: json.RawMessage(`{"a":"<b>"}`)}}
}

func failed(id string) *Result { return &Result{CustomID: id, Error: &Error{"x", "y"}} }

func open(t *testing.T, path string, o OutputOptions) *Output {
	t.Helper()
	out, err := OpenOutput(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, out *Output, results ...*Result) {
	t.Helper()
	for _, r := range results {
		if err := out.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOutputLooksAsOpenAIWritesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	write(t, open(t, path, OutputOptions{}), ok("a"), failed("b"))
	for i, line := range strings.Split(strings.TrimSuffix(content(t, path), "\n"), "\n") {
		rest, found := strings.CutPrefix(line, `{"id":"batch_req_`)
		_, rest, _ = strings.Cut(rest, `"`)
		want := []string{
			`,"custom_id":"a","response":{"status_code":200,"request_id":"req_1","body":{"a":"<b>"}},"error":null}`,
			`,"custom_id":"b","response":null,"error":{"code":"x","message":"y"}}`,
		}[i]
		if !found || rest != want {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
}

func TestOutputSurvivesAnyCut(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.jsonl")
	write(t, open(t, path, OutputOptions{Sync: time.Hour}), ok("a"), failed("b"), ok("c"))
	whole := content(t, path)
	lines := strings.SplitAfter(whole, "\n")
	for cut := 0; cut <= len(whole); cut++ {
		path := filepath.Join(dir, "cut.jsonl")
		if err := os.WriteFile(path, []byte(whole[:cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		out := open(t, path, OutputOptions{})
		want := ""
		n := 0
		for _, l := range lines[:3] {
			if len(want)+len(l)-1 > cut {
				break
			}
			want += l
			n++
		}
		if got := content(t, path); got != want {
			t.Fatalf("cut at %d: %q, want %q", cut, got, want)
		}
		if out.Succeeded+out.Failed != n {
			t.Errorf("cut at %d: %d results known, want %d", cut, out.Succeeded+out.Failed, n)
		}
		_, done := out.IDs.Read("a")
		if done != (n > 0) {
			t.Errorf("cut at %d: a is done: %v", cut, done)
		}
		write(t, out, ok("d"))
		if got := content(t, path); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != n+1 {
			t.Fatalf("cut at %d, after one more: %q", cut, got)
		}
	}
}

func TestOutputRemovesZerosThatAPowerFailureLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	write(t, open(t, path, OutputOptions{}), ok("a"))
	want := content(t, path)
	for _, tail := range []string{"\x00\x00\x00", `{"id":"batch_` + "\x00\x00"} {
		if err := os.WriteFile(path, []byte(want+tail), 0o600); err != nil {
			t.Fatal(err)
		}
		out := open(t, path, OutputOptions{})
		write(t, out)
		if got := content(t, path); got != want || out.Repaired != int64(len(tail)) {
			t.Errorf("after a tail of %q: %q, %d bytes repaired", tail, got, out.Repaired)
		}
	}
}

func TestOutputLeavesForeignFilesAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	for _, text := range []string{"dear diary\n", "dear diary", `{"name":"x"}` + "\n", `{"custom_id":"a","method":"POST"` + "\nmore\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenOutput(path, OutputOptions{})
		var foreign *ForeignError
		if !errors.As(err, &foreign) || foreign.Line != 1 {
			t.Errorf("%q: %v", text, err)
		}
		if got := content(t, path); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestOutputIsOneProcessAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	out := open(t, path, OutputOptions{})
	if _, err := OpenOutput(path, OutputOptions{}); !errors.Is(err, ErrInUse) {
		t.Errorf("opened a second time: %v", err)
	}
	write(t, out)
	write(t, open(t, path, OutputOptions{}))
}

func TestRetryFailedRemovesFailuresOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	bad := ok("c")
	bad.Response.StatusCode = 400
	write(t, open(t, path, OutputOptions{}), ok("a"), failed("b"), bad, ok("d"))
	out := open(t, path, OutputOptions{RetryFailed: true, Sync: time.Hour})
	if out.Succeeded != 2 || out.Failed != 0 {
		t.Errorf("%d succeeded, %d failed", out.Succeeded, out.Failed)
	}
	for id, want := range map[string]bool{"a": true, "b": false, "c": false, "d": true} {
		if _, done := out.IDs.Read(id); done != want {
			t.Errorf("%s is done: %v", id, done)
		}
	}
	if _, err := OpenOutput(path, OutputOptions{}); !errors.Is(err, ErrInUse) {
		t.Errorf("the new file isn't locked: %v", err)
	}
	write(t, out, ok("b"))
	again := open(t, path, OutputOptions{})
	write(t, again)
	if again.Succeeded != 3 || again.Failed != 0 {
		t.Errorf("in the end %d succeeded, %d failed", again.Succeeded, again.Failed)
	}
}

func TestRetryFailedTouchesNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	path, link, other := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "link.jsonl"), filepath.Join(dir, "link.jsonl.tmp")
	write(t, open(t, path, OutputOptions{}), ok("a"), failed("b"))
	if err := os.WriteFile(other, []byte("dear diary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Logf("not tried without symbolic links: %v", err)
		return
	}
	write(t, open(t, link, OutputOptions{RetryFailed: true}), ok("c"))
	if got := content(t, other); got != "dear diary" {
		t.Errorf("another file became %q", got)
	}
	if again := open(t, path, OutputOptions{}); again.Succeeded != 2 || again.Failed != 0 {
		t.Errorf("behind the link %d succeeded, %d failed", again.Succeeded, again.Failed)
	} else {
		write(t, again)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 3 {
		t.Errorf("files %v, %v", names, err)
	}
}

func TestOutputTellsOfDisksThatAreFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Log("no /dev/full here: the write error is not tried")
		return
	}
	file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := &Output{path: "/dev/full", file: file, done: make(chan struct{})}
	first := out.Write(ok("a"))
	if first == nil || out.Write(ok("b")) == nil || out.Close() == nil {
		t.Error("a full disk went unnoticed")
	}
}

func TestOutputTellsOfAFileThatWasTakenAway(t *testing.T) {
	for _, every := range []time.Duration{0, time.Hour} {
		path := filepath.Join(t.TempDir(), "out.jsonl")
		out := open(t, path, OutputOptions{Sync: every})
		if err := out.Write(ok("a")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, path+".bak"); err != nil {
			t.Logf("not tried where open files can't be renamed: %v", err)
			return
		}
		if err := out.Write(ok("b")); every == 0 && !errors.Is(err, ErrMoved) {
			t.Errorf("a write after the file was renamed: %v", err)
		}
		if err := out.Close(); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), path) {
			t.Errorf("synced every %v: %v", every, err)
		}
	}
}

func TestRejects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.errors.jsonl")
	if err := os.WriteFile(path, []byte(`{"code":"invalid_url","message":"from before","param":null,"line":9}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := NewRejects(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before the first reject: %v", err)
	}
	param := "url"
	for _, rj := range []*Reject{{Code: CodeURL, Message: "m", Param: &param, Line: 3}, {Code: CodeJSON, Message: "n", Line: 4}} {
		if err := r.Write(rj); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil || r.Len() != 2 {
		t.Errorf("%v, %d rejects", err, r.Len())
	}
	want := `{"code":"invalid_url","message":"m","param":"url","line":3}` + "\n" + `{"code":"invalid_json_line","message":"n","param":null,"line":4}` + "\n"
	if got := content(t, path); got != want {
		t.Errorf("%s", got)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}`))
	f.Add([]byte(`{"custom_id":"a","method":"POST","url":"//x/v1/embeddings","body":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRequest(Line{Number: 1, Text: text})
		if err != nil {
			var rj *Reject
			if !errors.As(err, &rj) {
				t.Errorf("%T: %v", err, err)
			}
			return
		}
		if r.CustomID == "" || !strings.HasPrefix(r.URL, "/") || strings.HasPrefix(r.URL, "//") || !json.Valid(r.Body) {
			t.Errorf("accepted %+v", r)
		}
	})
}

// FuzzLines: whatever is in a file, its lines and their ends are those of the file, none longer than the limit.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{"a\nb\r\n\nc", "\xef\xbb\xbfx", "\n", "\r", "123456789\n12345678\r\n", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		const most = 8
		lines := NewLines(bytes.NewReader(file), most)
		want := bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))
		end := int64(len(file) - len(want))
		for number := 1; ; number++ {
			if len(want) == 0 {
				if l, err := lines.Next(); !errors.Is(err, io.EOF) {
					t.Fatalf("%+v, %v at the end", l, err)
				}
				return
			}
			text, rest, whole := bytes.Cut(want, []byte("\n"))
			end += int64(len(want) - len(rest))
			want = rest
			l, err := lines.Next()
			var long *LongLineError
			if text = bytes.TrimSuffix(text, []byte("\r")); len(text) > most {
				if !errors.As(err, &long) || long.Number != number {
					t.Fatalf("line %d of %d bytes: %v", number, len(text), err)
				}
				continue
			}
			if err != nil || !bytes.Equal(l.Text, text) || l.Number != number || l.End != end || l.Whole != whole {
				t.Fatalf("%+v, %v; want %d: %q to %d", l, err, number, text, end)
			}
		}
	})
}

// FuzzOutput: an output file is taken up again or left as it is; taken up, it is of whole lines, and no result is lost.
func FuzzOutput(f *testing.F) {
	ok := `{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"r","body":{}},"error":null}`
	for _, seed := range []string{"", ok, ok + "\n", ok + "\n" + `{"id":"bat`, ok + "\n\x00\x00", ok + "\n\n" + ok + "\r\n", "foreign\n", `{"id":"batch_req_2","custom_id":"b","error":{"code":"x"}}` + "\n", "\xef\xbb\xbf" + ok} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := OpenOutput(path, OutputOptions{Sync: time.Hour})
		if err != nil {
			if got := content(t, path); got != string(file) {
				t.Errorf("refused (%v), but %q became %q", err, file, got)
			}
			return
		}
		known := o.IDs.Len()
		if err := o.Write(&Result{CustomID: "\x00 one more"}); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		got := content(t, path)
		kept := file[:len(file)-int(o.Repaired)]
		if !strings.HasPrefix(got, string(kept)) || !strings.HasSuffix(got, "\n") {
			t.Errorf("%q became %q, %d bytes repaired", file, got, o.Repaired)
		}
		o, err = OpenOutput(path, OutputOptions{Sync: time.Hour})
		if err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if o.IDs.Len() != known+1 || o.Repaired != 0 || o.Succeeded+o.Failed != known+1 {
			t.Errorf("%q: %d ids, then %d, of them %d and %d; %d bytes repaired", got, known, o.IDs.Len(), o.Succeeded, o.Failed, o.Repaired)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
}
