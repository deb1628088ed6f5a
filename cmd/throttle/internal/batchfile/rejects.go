package batchfile

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
)

// Rejects is the file of the lines that couldn't be run. It is made with the first of them.
type Rejects struct {
	path string
	mu   sync.Mutex
	file *os.File
	n    int
}

// NewRejects starts the file anew: a run reads all of its input, and finds all of its rejects.
func NewRejects(path string) (*Rejects, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return &Rejects{path: path}, nil
}

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
