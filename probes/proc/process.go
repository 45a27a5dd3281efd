package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// ErrGone tells that the process has exited. It says nothing about its mounts.
var ErrGone = errors.New("process is gone")

// Process is a process held by a descriptor of its folder of /proc. It is safe for concurrent use.
type Process struct {
	PID   int
	Start uint64   // clock ticks since boot; with PID it names the process for ever
	dir   *os.File // O_PATH of /proc/PID, or of /proc/PID/task/TID when the leader has exited
}

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
	return open(root, n)
}

// Hold returns the process with the id, held under the /proc at root. It is ErrGone when there is none. Release it.
func Hold(root string, pid int) (*Process, error) { return open(root, pid) }

// open takes hold of the process, or of one of its threads when only the leader has exited.
func open(root string, pid int) (*Process, error) {
	fd, err := sys.OpenDir(filepath.Join(root, strconv.Itoa(pid)))
	if err != nil {
		return nil, gone(err)
	}
	p := &Process{PID: pid, dir: os.NewFile(uintptr(fd), "/proc/"+strconv.Itoa(pid))}
	st, err := p.stat()
	if err == nil && st.dead() {
		err = p.moveToLiveThread(filepath.Join(root, strconv.Itoa(pid), "task"))
	}
	if err != nil {
		p.Release()
		return nil, err
	}
	p.Start = st.start
	return p, nil
}

// moveToLiveThread replaces the folder of an exited leader by that of a thread that still runs.
func (p *Process) moveToLiveThread(task string) error {
	threads, err := os.ReadDir(task)
	if err != nil {
		return gone(err)
	}
	for _, t := range threads {
		var fd int
		err := p.control(func(dir int) (err error) {
			fd, err = sys.OpenDirAt(dir, "task/"+t.Name())
			return err
		})
		if err != nil {
			continue // exited since it was listed
		}
		thread := &Process{dir: os.NewFile(uintptr(fd), task+"/"+t.Name())}
		if st, err := thread.stat(); err == nil && !st.dead() {
			p.Release()
			p.dir = thread.dir
			return nil
		}
		thread.Release()
	}
	return ErrGone
}

// Read returns the text of the file name of the process's folder, such as "cgroup". It is ErrGone
// when the process has exited.
func (p *Process) Read(name string) (string, error) {
	f, err := p.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(f)
	return string(text), gone(err)
}

// Open opens the file name of the process's folder for reading. It is ErrGone when the process has
// exited. Close it soon: an open mountinfo pins the whole mount namespace.
func (p *Process) Open(name string) (*os.File, error) {
	var fd int
	err := p.control(func(dir int) (err error) {
		fd, err = sys.OpenAt(dir, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), p.dir.Name()+"/"+name), nil
}

// Check returns ErrGone when the process has exited.
func (p *Process) Check() error {
	st, err := p.stat()
	if err == nil && st.dead() {
		return ErrGone
	}
	return err
}

// Hand calls f with the descriptor of the process's folder, which stays open until f returns.
func (p *Process) Hand(f func(dir int) error) error { return p.control(f) }

// control fails by itself only when the folder is closed: the Finder has let the process go.
func (p *Process) control(f func(dir int) error) error {
	raw, err := p.dir.SyscallConn()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	var answer error
	if err := raw.Control(func(fd uintptr) { answer = f(int(fd)) }); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return gone(answer)
}

func (p *Process) stat() (stat, error) {
	text, err := p.Read("stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

// Release lets the process go. Who got it from a Finder leaves that to the Finder.
func (p *Process) Release() { _ = p.dir.Close() } // nothing was written

// gone makes ErrGone of what /proc answers about a process that has exited.
func gone(err error) error {
	for _, e := range []syscall.Errno{syscall.ESRCH, syscall.ENOENT, syscall.EINVAL} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
	}
	return err
}
