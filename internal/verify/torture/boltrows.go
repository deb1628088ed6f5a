package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tokenthrottle/throttle/internal/verify/faultdisk"
)

// diskFault is one way in which the disk under a bolt file fails, tried at every call of its operation.
type diskFault struct {
	name string
	job  boltJob // without a path and a place
}

func diskFaults() []diskFault {
	return []diskFault{
		{"kill -9 before every write", boltJob{Op: faultdisk.Write, Action: faultdisk.Kill}},
		{"kill -9 in the middle of every write", boltJob{Op: faultdisk.Write, Action: faultdisk.KillHalf}},
		{"kill -9 after every write", boltJob{Op: faultdisk.Write, Action: faultdisk.KillBehind}},
		{"kill -9 at every growth of the file", boltJob{Op: faultdisk.Truncate, Action: faultdisk.KillBehind}},
		{"disk full (ENOSPC) at every write", boltJob{Op: faultdisk.Write, Action: faultdisk.Fail, Err: syscall.ENOSPC, Times: 3}},
		{"short write, then ENOSPC, at every write", boltJob{Op: faultdisk.Write, Action: faultdisk.Half, Times: 3, ThenErr: syscall.ENOSPC}},
		{"EIO at every write", boltJob{Op: faultdisk.Write, Action: faultdisk.Fail, Err: syscall.EIO, Times: 1}},
		{"short write, then EIO, at every write", boltJob{Op: faultdisk.Write, Action: faultdisk.Half, Times: 2, ThenErr: syscall.EIO}},
		{"EIO at every sync", boltJob{Op: faultdisk.Sync, Action: faultdisk.Fail, Err: syscall.EIO, Times: 1}},
		{"ENOSPC at every growth of the file", boltJob{Op: faultdisk.Truncate, Action: faultdisk.Fail, Err: syscall.ENOSPC, Times: 1}},
		{"EIO at every read", boltJob{Op: faultdisk.Read, Action: faultdisk.Fail, Err: syscall.EIO, Times: 1}},
	}
}

// boltTorture tries every fault of the disk, and damage to the file.
func boltTorture(which string, short bool, progress func(Row)) (rows []Row, err error) {
	dir, err := os.MkdirTemp("", "throttle-torture-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for _, f := range diskFaults() {
		if !strings.Contains(f.name, which) {
			continue
		}
		row := Row{Fault: f.name, Driver: "bolt"}
		if err := row.everyCall(dir, f, short); err != nil {
			return rows, fmt.Errorf("bolt, %s: %w", f.name, err)
		}
		rows = append(rows, row)
		progress(row)
	}
	damage, err := damageRows(dir, which, short, progress)
	return append(rows, damage...), err
}

// everyCall tries the fault at each call of its operation, on a new file and on one that was in use; a few of them if
// short.
func (r *Row) everyCall(dir string, f diskFault, short bool) error {
	for _, used := range []bool{false, true} {
		calls, err := r.once(dir, f, 0, used)
		if err != nil || r.NotTried != "" {
			return err
		}
		step, first := 1, 1
		if short && calls > 4 {
			step = calls/3 - 1 // coprime enough with the writes of a commit
			first = 1 + step/2*btoi(used)
		}
		for at := first; at <= calls; at += step {
			if _, err := r.once(dir, f, at, used); err != nil {
				return err
			}
		}
	}
	if r.Runs == 0 {
		r.problem("the fault didn't bite: the operation was never at any of the calls")
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// once has a child work on a file and meet the fault at one call, opens the file after it, and judges. It returns how
// many calls of the operation there were.
func (r *Row) once(dir string, f diskFault, at int, used bool) (calls int, err error) {
	path := filepath.Join(dir, "limits.db")
	if err := os.RemoveAll(path); err != nil {
		return 0, err
	}
	books := newLedger()
	if used {
		if _, err := (&boltJob{Path: path}).run(books); err != nil {
			return 0, err
		}
	}
	job := f.job
	job.Path, job.At = path, at
	told, err := job.run(books)
	if err != nil {
		return 0, err
	}
	if told.missing != "" {
		r.NotTried = told.missing
		return 0, nil
	}
	if told.struck {
		r.Runs++ // what calls there are differs a little from time to time, and a late one may not come
	}
	where := fmt.Sprintf("%s %d of a %s file", f.job.Op, at, map[bool]string{true: "used", false: "new"}[used])
	if told.failure != "" {
		r.problem("%s: %s", where, told.failure)
	}
	start := time.Now()
	lim, closeAll, err := openBolt(path)
	if err != nil {
		r.problem("%s: the file can't be opened: %v", where, err)
		return told.calls[f.job.Op], nil
	}
	defer closeAll()
	s, err := lim.Status(context.Background(), "m")
	if err != nil {
		r.problem("%s: %v", where, err)
		return told.calls[f.job.Op], nil
	}
	recovery := max(told.recovery, time.Since(start))
	minted, leaked, stated := books.judge(burst, s.Buckets[0].Level, 1)
	r.Minted += minted
	r.Leaked, r.Stated = max(r.Leaked, float64(int(leaked))), max(r.Stated, stated)
	r.Operations += books.operations
	r.Failed += books.failed
	r.MaxRecoveryMS = max(r.MaxRecoveryMS, float64(recovery.Microseconds())/1000)
	if minted > 0 || float64(int(leaked)) > stated {
		r.problem("%s: minted %g, leaked %g of %g in flight", where, minted, leaked, stated)
	}
	return told.calls[f.job.Op], nil
}

// boltTold is what a child told beside what belongs in the books.
type boltTold struct {
	missing, failure string
	struck           bool // by the fault
	calls            [4]int
	recovery         time.Duration
}

// run has a child do the job, and keeps its books.
func (j *boltJob) run(books *ledger) (told boltTold, err error) {
	self, err := os.Executable()
	if err != nil {
		return told, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return told, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return told, err
	}
	if ctx.Err() != nil {
		told.failure = "it hung"
	}
	type operation struct {
		give   bool
		amount float64
	}
	open := map[string]operation{} // asked for, and not answered yet
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		what, rest, _ := strings.Cut(lines.Text(), " ")
		name, rest, _ := strings.Cut(rest, " ")
		switch what {
		case "take", "give":
			amount, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				return told, err
			}
			open[name] = operation{what == "give", amount}
		case "done", "failed", "unknown":
			o := open[name]
			delete(open, name)
			books.book(o.give, what, o.amount)
		case "unopened":
			books.book(true, "failed", 0)
		case "struck":
			told.struck = true
		case "error":
			told.failure = name + " " + rest
		case "missing":
			told.missing = name + " " + rest
		case "recovered":
			us, err := strconv.Atoi(name)
			if err != nil {
				return told, err
			}
			told.recovery = time.Duration(us) * time.Microsecond
		case "calls":
			if _, err := fmt.Sscan(name+" "+rest, &told.calls[0], &told.calls[1], &told.calls[2], &told.calls[3]); err != nil {
				return told, err
			}
		}
	}
	for _, o := range open {
		books.book(o.give, "unknown", o.amount)
	}
	return told, lines.Err()
}

// book enters an operation whose outcome is done, unknown or failed.
func (l *ledger) book(give bool, outcome string, amount float64) {
	done := &answer{granted: amount}
	maybe := &l.maybeGranted
	if give {
		done, maybe = &answer{credited: amount}, &l.maybeCredited
	}
	switch outcome {
	case "done":
		l.note(0, time.Now(), done, nil)
	case "unknown":
		l.note(0, time.Now(), nil, func(*ledger) { *maybe += amount })
	default:
		l.note(0, time.Now(), nil, nil)
	}
}
