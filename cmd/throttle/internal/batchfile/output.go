package batchfile

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Output is an output file that survives interruptions: each result is one write at the file's end, a line that was cut
// off by a crash is removed when it is opened again, and what is in it is known.
//
// A result has been handed to the operating system when [Output.Write] returns, so the death of the process loses none.
// It reaches the disk with the next sync: at once, or some time later, as the file was opened; a power failure loses at
// most the results of that time, and their requests run again.
type Output struct {
	IDs IDs
	// Succeeded and Failed count the results that the file held when it was opened.
	Succeeded, Failed int
	// Repaired is how many bytes of an unfinished line were removed.
	Repaired int64

	path  string
	every time.Duration

	mu     sync.Mutex
	file   *os.File
	size   int64
	dirty  bool
	broken error
	ticker *time.Ticker
	done   chan struct{}
	synced sync.WaitGroup
}

// OutputOptions say how to open an output file.
type OutputOptions struct {
	// Sync is how long a result may wait for its sync to disk; 0 syncs each by itself.
	Sync time.Duration
	// RetryFailed removes the results that are failures, so that their requests run again.
	RetryFailed bool
}

// ForeignError says that a file is not what a run would have written there, and was left as it is.
type ForeignError struct {
	Path string
	Line int
	// What the line should be, and what on the command line names the file.
	What, Flag string
	Err        error
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s: line %d is not %s (%v): it was left as it is; give another name for %s", e.Path, e.Line, e.What, e.Err, e.Flag)
}

// Unwrap returns what is wrong with the line.
func (e *ForeignError) Unwrap() error { return e.Err }

// ErrInUse is matched by the error of opening an output file that another process writes.
var ErrInUse = errors.New("another process is writing it")

// ErrNotRegular is matched by the error of opening an output that is no plain file: a device, a pipe. What is written
// there can't be read back at the next start.
var ErrNotRegular = errors.New("not a plain file, and what is in OUT is what needn't be run again: give the name of a file")

// ErrMoved is matched by the error of writing to a file that is no longer at its path.
var ErrMoved = errors.New("it was removed, renamed or replaced while it was written; where it is now, the results are")

// OpenOutput opens or makes an output file, repairs it and reads what it holds.
func OpenOutput(path string, o OutputOptions) (*Output, error) {
	// Before it is opened: to open some devices does something.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	out := &Output{path: path, every: o.Sync, file: file, done: make(chan struct{})}
	if err := out.prepare(o.RetryFailed); err != nil {
		return nil, errors.Join(err, out.file.Close())
	}
	if out.every > 0 {
		out.ticker = time.NewTicker(out.every)
		out.synced.Go(out.keepSyncing)
	}
	return out, nil
}

func (o *Output) prepare(retryFailed bool) error {
	if err := lock(o.file); err != nil {
		return fmt.Errorf("%s: %w", o.path, err)
	}
	if err := o.load(); err != nil {
		return err
	}
	if retryFailed && o.Failed > 0 {
		if err := o.dropFailed(); err != nil {
			return fmt.Errorf("%s: remove failed results: %w", o.path, err)
		}
	}
	syncDir(o.path)
	return nil
}

// load reads the file, and ends or removes an unfinished last line.
func (o *Output) load() error {
	lines := NewLines(o.file, maxResult)
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.path, err)
		}
		id, failed, err := parseResult(line.Text)
		if err != nil && !line.Whole && unfinished(line.Text) {
			o.Repaired = line.End - o.size
			return o.file.Truncate(o.size)
		}
		if err != nil && len(bytes.TrimSpace(line.Text)) > 0 {
			return &ForeignError{Path: o.path, Line: line.Number, What: "a result", Flag: "OUT", Err: err}
		}
		o.size = line.End
		if err == nil {
			o.count(id, failed)
		}
		if !line.Whole {
			if _, err := o.file.Write([]byte("\n")); err != nil {
				return err
			}
			o.size++
		}
	}
}

// maxResult is the longest line, in bytes, that an output file may have.
const maxResult = 1 << 30

func (o *Output) count(id string, failed bool) {
	if !o.IDs.finish(id) {
		return
	}
	if failed {
		o.Failed++
	} else {
		o.Succeeded++
	}
}

// unfinished says whether text may be the beginning of a line that this package wrote. After a power failure a file may
// end in zeros that were never written.
func unfinished(text []byte) bool {
	text = bytes.TrimRight(text, "\x00")
	n := min(len(text), len(resultPrefix))
	return string(text[:n]) == resultPrefix[:n]
}

// dropFailed writes a file without the failures and puts it in this one's place. A link to the file remains one.
func (o *Output) dropFailed() error {
	if _, err := o.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	info, err := o.file.Stat()
	if err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(o.path)
	if err != nil {
		return err
	}
	path := target + "." + rand.Text() + ".tmp" // no file of anybody's
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, info.Mode().Perm())
	if err != nil {
		return err
	}
	if err := file.Chmod(info.Mode().Perm()); err != nil {
		return errors.Join(err, file.Close(), os.Remove(path))
	}
	next := &Output{path: o.path, file: file}
	if err := next.copySucceeded(o.file); err != nil {
		return errors.Join(err, file.Close(), os.Remove(path))
	}
	if err := os.Rename(path, target); err != nil {
		return errors.Join(err, file.Close(), os.Remove(path))
	}
	err = o.file.Close()
	o.file, o.size, o.IDs, o.Succeeded, o.Failed = file, next.size, next.IDs, next.Succeeded, 0
	return err
}

func (o *Output) copySucceeded(from io.Reader) error {
	if err := lock(o.file); err != nil {
		return err
	}
	w := bufio.NewWriterSize(o.file, 256<<10)
	lines := NewLines(from, maxResult)
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		id, failed, err := parseResult(line.Text)
		if err != nil || failed {
			continue
		}
		o.count(id, false)
		n, err := w.Write(append(line.Text, '\n'))
		o.size += int64(n)
		if err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return o.file.Sync()
}

// Write appends a result. A write that fails is undone as far as the file system lets it, and the output takes no more.
// Safe for concurrent use.
func (o *Output) Write(r *Result) error {
	line, err := r.line()
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken != nil {
		return o.broken
	}
	if _, err := o.file.Write(line); err != nil {
		// What was written of the line would spoil the next one. If it can't be removed now, the next start does it.
		o.broken = errors.Join(err, o.file.Truncate(o.size))
		return o.broken
	}
	o.size += int64(len(line))
	o.dirty = true
	if o.every == 0 {
		return o.sync()
	}
	return nil
}

// sync is called with the lock held. It also finds out whether the path still leads to the file: what goes to a file that
// was removed is lost.
func (o *Output) sync() error {
	if o.broken == nil && !o.inPlace() {
		o.broken = fmt.Errorf("%s: %w", o.path, ErrMoved)
	}
	if o.broken != nil {
		return o.broken
	}
	if !o.dirty {
		return nil
	}
	if err := o.file.Sync(); err != nil {
		o.broken = err
		return err
	}
	o.dirty = false
	return nil
}

func (o *Output) inPlace() bool {
	here, err := o.file.Stat()
	if err != nil {
		return true // nothing is known
	}
	there, err := os.Stat(o.path)
	return err == nil && os.SameFile(here, there) || err != nil && !errors.Is(err, os.ErrNotExist)
}

func (o *Output) keepSyncing() {
	for {
		select {
		case <-o.done:
			return
		case <-o.ticker.C:
			o.mu.Lock()
			_ = o.sync() // the next Write, or Close, reports it
			o.mu.Unlock()
		}
	}
}

// Close syncs and closes the file.
func (o *Output) Close() error {
	if o.ticker != nil {
		o.ticker.Stop()
	}
	close(o.done)
	o.synced.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken != nil {
		return errors.Join(o.broken, o.file.Close())
	}
	return errors.Join(o.sync(), o.file.Close())
}

// syncDir makes a new file's name last. Some file systems can't; the file's content is another matter.
func syncDir(path string) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return
	}
	_ = dir.Sync()
	_ = dir.Close()
}
