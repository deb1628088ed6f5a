package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bbolt "go.etcd.io/bbolt"
)

// The file has two buckets: one says what the file is, the other holds the keys.
var (
	aboutBucket = []byte("throttle")
	keysBucket  = []byte("keys")
	formatKey   = []byte("format")  // the version of all this, in decimal
	sessionKey  = []byte("session") // see [Driver]; 8 bytes, big-endian
	sumKey      = []byte("sum")     // of all values, see [share]; 8 bytes, big-endian
)

const format = "1"

// mode is that of a new file: limits and keys are nobody else's business.
const mode = 0o600

// retry is how often a file that another process holds is tried.
const retry = 50 * time.Millisecond

// openFile opens a file that is missing, empty, or a sound bbolt file.
//
// A file that exists is looked through first ([check]): bbolt, which finds the free pages of a file by walking all
// others, ends the process when it comes upon one that is damaged.
func openFile(ctx context.Context, path string, timeout time.Duration) (*bbolt.DB, error) {
	deadline := time.Now().Add(timeout)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, openError(path, err)
	case info.IsDir():
		return nil, storeError(path, "open", errors.New("is a directory"), "give the path of a file")
	case !info.Mode().IsRegular():
		return nil, storeError(path, "open", errors.New("is not a regular file"), "give the path of a file")
	case info.Size() > 0:
		if err := inspect(ctx, path, deadline); err != nil {
			return nil, err
		}
	}
	isNew := info == nil || info.Size() == 0
	db, err := lock(ctx, path, deadline, &bbolt.Options{
		// A list of free pages is rewritten in each commit, which after 300,000 keys were removed took 7 ms where it takes
		// 0.02 ms without. Opening walks the file instead: with the check above, half a second for a million keys.
		NoFreelistSync: true,
		// As fast as an array while few pages are free, and much faster when many are.
		FreelistType: bbolt.FreelistMapType,
	})
	if err == nil && isNew {
		syncDir(filepath.Dir(path))
	}
	return db, err
}

// create makes a file that holds nothing, whole or not at all: bbolt would write its first pages into a file that already
// has its name, and a process that is killed meanwhile, or a disk that is full, would leave half of them.
func create(path string) error {
	failed := func(err error) error {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return openError(path, err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*") // with our mode
	if err != nil {
		return failed(err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	if err := temporary.Close(); err != nil {
		return failed(err)
	}
	db, err := bbolt.Open(temporary.Name(), mode, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		return failed(err)
	}
	if err := db.Close(); err != nil {
		return failed(err)
	}
	// Where another process was faster its file stays, and where there are no hard links bbolt makes the file after all.
	_ = os.Link(temporary.Name(), path)
	return nil
}

// lock opens the file with bbolt as soon as no other process holds it.
func lock(ctx context.Context, path string, deadline time.Time, o *bbolt.Options) (*bbolt.DB, error) {
	o.Timeout = 1 // one attempt: bbolt would sleep on though ctx has ended
	if err := ctx.Err(); err != nil {
		return nil, storeError(path, "open", err, "")
	}
	for {
		var db *bbolt.DB
		err := safely(path, "open", func() (err error) {
			db, err = bbolt.Open(path, mode, o)
			return err
		})
		switch {
		case err == nil:
			return db, nil
		case errors.Is(err, ErrDamaged):
			return nil, err
		case !errors.Is(err, bbolt.ErrTimeout) || !time.Now().Before(deadline):
			return nil, openError(path, err)
		}
		wait := time.NewTimer(min(retry, time.Until(deadline)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, storeError(path, "open", fmt.Errorf("%w: %w", ErrLocked, ctx.Err()), remedyLocked)
		case <-wait.C:
		}
	}
}

// inspect looks through a file that exists, while nobody writes it.
func inspect(ctx context.Context, path string, deadline time.Time) error {
	var file *os.File
	// Read-only, bbolt reads the two meta pages and nothing else.
	db, err := lock(ctx, path, deadline, &bbolt.Options{ReadOnly: true, OpenFile: func(name string, _ int, _ os.FileMode) (*os.File, error) {
		var err error
		file, err = openWhole(name)
		return file, err
	}})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	info, err := file.Stat()
	if err != nil {
		return openError(path, err)
	}
	if err := check(file, info.Size()); err != nil {
		return damaged(path, "open", err.Error())
	}
	return nil
}

// openWhole opens a file that is not shorter than it says, before any of it is mapped to memory.
func openWhole(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		if m, _, bad := metas(file); bad == nil { // otherwise bbolt says what it is
			if short := m.fits(info.Size()); short != nil {
				err = damaged(path, "open", short.Error())
			}
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// syncDir makes a new file's name as durable as its content. Not every system can; none needs it for kill -9.
func syncDir(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	_ = f.Sync()
	_ = f.Close()
}

// begin makes a new file ours, or sees that it is, and counts the session.
func (d *Driver) begin() error {
	return safely(d.path, "open", func() error {
		tx, err := d.db.Begin(true)
		if err != nil {
			return openError(d.path, err)
		}
		defer func() { _ = tx.Rollback() }() // after a commit it does nothing
		if err := d.claim(tx); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return openError(d.path, err)
		}
		return nil
	})
}

func (d *Driver) claim(tx *bbolt.Tx) error {
	about := tx.Bucket(aboutBucket)
	if about == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return storeError(d.path, "open", fmt.Errorf("%w: it holds another program's bucket %q", ErrForeign, name), remedyForeign)
		}
		var err error
		if about, err = tx.CreateBucket(aboutBucket); err != nil {
			return openError(d.path, err)
		}
		if _, err = tx.CreateBucket(keysBucket); err != nil {
			return openError(d.path, err)
		}
		if err = about.Put(formatKey, []byte(format)); err != nil {
			return openError(d.path, err)
		}
	}
	f := about.Get(formatKey)
	switch {
	case f == nil:
		return storeError(d.path, "open", fmt.Errorf("%w: its bucket %q says no format", ErrForeign, aboutBucket), remedyForeign)
	case string(f) != format:
		return storeError(d.path, "open", fmt.Errorf("%w: %.20q, this program reads %q", ErrFormat, f, format), "upgrade the program, or give it another path")
	case tx.Bucket(keysBucket) == nil:
		return damaged(d.path, "open", fmt.Sprintf("it has no bucket %q", keysBucket))
	}
	if s := about.Get(sessionKey); len(s) == 8 {
		d.session = binary.BigEndian.Uint64(s)
	}
	d.session++
	if err := about.Put(sessionKey, binary.BigEndian.AppendUint64(nil, d.session)); err != nil {
		return openError(d.path, err)
	}
	return nil
}

// safely runs f, which reads the file through memory that is mapped to it: what bbolt panics upon, or the machine
// faults on when the file was cut short or the disk fails, becomes an error.
func safely(path, doing string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged(path, doing, fmt.Sprint(r))
		}
	}()
	return f()
}
