package batchfile

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// Rejects is the file of the lines that couldn't be run. It is made with the first of them.
type Rejects struct {
	path string
	mu   sync.Mutex
	file *os.File
	n    int
}

// NewRejects starts the file anew: a run reads all of its input, and finds all of its rejects. A file that holds anything
// else is left as it is, with a [*ForeignError]. A device or a pipe is written to.
func NewRejects(path string) (*Rejects, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	case info.Mode().IsRegular():
		if err := ownRejects(path); err != nil {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return &Rejects{path: path}, nil
}

// ownRejects refuses a file whose first line is not a reject.
func ownRejects(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	line, err := NewLines(file, maxReject).Next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	var rj Reject
	if err == nil {
		err = json.Unmarshal(line.Text, &rj)
	}
	if err == nil && (rj.Code == "" || rj.Message == "" || rj.Line == 0) {
		err = errors.New("no code, message and line")
	}
	if err != nil {
		return &ForeignError{Path: path, Line: 1, Err: err, What: "a rejected line", Flag: "--errors"}
	}
	return nil
}

// maxReject is longer than any reject, in bytes.
const maxReject = 1 << 20

// Write adds a reject.
func (r *Rejects) Write(rj *Reject) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return err
		}
		r.file = f
	}
	line, err := json.Marshal(rj)
	if err != nil {
		return err
	}
	r.n++
	_, err = r.file.Write(append(line, '\n'))
	return err
}

// Len is how many there are.
func (r *Rejects) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// Close closes the file, if there is one.
func (r *Rejects) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
