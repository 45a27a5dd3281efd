package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// ErrGone means that the process has exited. It says nothing about its mounts.
var ErrGone = errors.New("process is gone")

// Process is a process held by a descriptor of its directory of /proc. It is safe for concurrent
// use.
type Process struct {
	PID    int
	Serial uint64   // of this hold: no other Process has it, even of the same process or its id
	dir    *os.File // O_PATH of /proc/PID, or of /proc/PID/task/TID when the leader has exited
}

var serials atomic.Uint64 //nolint:gochecknoglobals // a counter for the whole process

// Self returns this process, held under the /proc at root.
func Self(root string) (*Process, error) {
	pid, err := os.Readlink(filepath.Join(root, "self"))
	if err != nil {
		return nil, fmt.Errorf("find myself: %w", err)
	}
	n, err := strconv.Atoi(pid)
	if err != nil {
		return nil, fmt.Errorf("find myself: %s/self is %q, not a process id: %w", root, pid, err)
	}
	return openProcess(root, n)
}

// Hold returns the process with the id, held under the /proc at root. It is ErrGone when there is
// none. Release it.
func Hold(root string, pid int) (*Process, error) { return openProcess(root, pid) }

// openProcess holds the process, or one of its threads when only the leader has exited.
func openProcess(root string, pid int) (*Process, error) {
	p, err := Peek(root, pid)
	if err != nil {
		return nil, err
	}
	t, err := p.Status()
	if err == nil && t.isDead() {
		err = p.moveToLiveThread(filepath.Join(root, strconv.Itoa(pid), "task"))
	}
	if err != nil {
		p.Release()
		return nil, err
	}
	return p, nil
}

// Peek returns the process with the id, held under the /proc at root, without a check whether it
// is alive. Release it.
func Peek(root string, pid int) (*Process, error) {
	fd, err := sys.OpenDir(filepath.Join(root, strconv.Itoa(pid)))
	if err != nil {
		return nil, asGone(err)
	}
	return &Process{PID: pid, Serial: serials.Add(1), dir: os.NewFile(uintptr(fd), "/proc/"+strconv.Itoa(pid))}, nil
}

// moveToLiveThread replaces the directory of an exited leader by that of a thread that still runs.
func (p *Process) moveToLiveThread(task string) error {
	threads, err := os.ReadDir(task)
	if err != nil {
		return asGone(err)
	}
	for _, t := range threads {
		var fd int
		err := p.withDir(func(dir int) (err error) {
			fd, err = sys.OpenDirAt(dir, "task/"+t.Name())
			return err
		})
		if err != nil {
			continue // exited since it was listed
		}
		thread := &Process{dir: os.NewFile(uintptr(fd), task+"/"+t.Name())}
		if t, err := thread.Status(); err == nil && !t.isDead() {
			p.Release()
			p.dir = thread.dir
			return nil
		}
		thread.Release()
	}
	return ErrGone
}

// Read returns the text of the file name of the process's directory, such as "cgroup". It is
// ErrGone when the process has exited.
func (p *Process) Read(name string) (string, error) {
	f, err := p.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(f)
	return string(text), asGone(err)
}

// Open opens the file name of the process's directory for reading. It is ErrGone when the process
// has exited. Close it soon: an open mountinfo pins the whole mount namespace.
func (p *Process) Open(name string) (*os.File, error) {
	var fd int
	err := p.withDir(func(dir int) (err error) {
		fd, err = sys.OpenAt(dir, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), p.dir.Name()+"/"+name), nil
}

// CloseMounts closes an open mountinfo, and does not wait for that. If the last process of its
// mount namespace has ended meanwhile, the closer takes the mounts down, for as long as that
// takes.
func CloseMounts(f *os.File) { go func() { _ = f.Close() }() } // read only

// Check returns ErrGone when the process has exited.
func (p *Process) Check() error {
	t, err := p.Status()
	if err == nil && t.isDead() {
		return ErrGone
	}
	return err
}

// Hand calls f with the descriptor of the process's directory, which stays open until f returns.
func (p *Process) Hand(f func(dir int) error) error { return p.withDir(f) }

// Duplicate returns another descriptor of the process's directory, which the caller must close.
func (p *Process) Duplicate() (dir int, err error) {
	err = p.withDir(func(fd int) (err error) {
		dir, err = sys.Duplicate(fd)
		return err
	})
	return dir, err
}

// withDir calls f with the descriptor. By itself it fails only when that is closed: the Finder has
// released the process.
func (p *Process) withDir(f func(dir int) error) error {
	raw, err := p.dir.SyscallConn()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	var answer error
	if err := raw.Control(func(fd uintptr) { answer = f(int(fd)) }); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return asGone(answer)
}

// Status returns what the status file says of the process's first thread. It does not wait (see
// Tasks).
func (p *Process) Status() (Task, error) {
	text, err := p.Read("status")
	if err != nil {
		return Task{}, err
	}
	return parseStatus(text)
}

// Release closes the descriptor. Whoever got the process from a Finder leaves that to the Finder.
func (p *Process) Release() { _ = p.dir.Close() } // nothing was written

// asGone makes ErrGone of the errors that /proc returns for a process that has exited.
func asGone(err error) error {
	for _, e := range []syscall.Errno{syscall.ESRCH, syscall.ENOENT, syscall.EINVAL} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
	}
	return err
}
