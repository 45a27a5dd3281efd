package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// workerName is the file name of the worker binary and the name of its processes.
const workerName = "mountwarden-probe"

var errClosed = errors.New("the pool of workers is closed")

// spawner starts workers from one thread of its own. The kernel sends the parent-death signal when
// the thread that started the child ends, not the process, and Go's threads come and go.
type spawner struct {
	path     string
	env      []string
	requests chan spawnRequest
	quit     chan struct{}
}

// spawnRequest asks the spawner's thread for a worker.
type spawnRequest struct {
	as    *Credential
	reply chan<- spawnResult
}

// spawnResult is a started worker, or why there is none.
type spawnResult struct {
	process *os.Process
	conn    *net.UnixConn
	mem     []byte // shared with the worker
	err     error
}

func newSpawner(path string, privileged bool) *spawner {
	env := []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=4MiB", "GODEBUG=asyncpreemptoff=1,containermaxprocs=0"}
	if privileged {
		env = append(env, check.KeepPrivileges+"=1")
	}
	return &spawner{path: path, env: env, requests: make(chan spawnRequest), quit: make(chan struct{})}
}

// serveRequests starts workers until quit is closed. Its thread ends with it, and so do the
// workers that still live.
func (s *spawner) serveRequests() {
	runtime.LockOSThread()
	for {
		select {
		case o := <-s.requests:
			o.reply <- s.spawnWorker(o.as)
		case <-s.quit:
			return
		}
	}
}

// requestWorker has the spawner's thread start a worker; it takes as long as an exec.
func (s *spawner) requestWorker(as *Credential) spawnResult {
	reply := make(chan spawnResult, 1)
	select {
	case s.requests <- spawnRequest{as, reply}:
		return <-reply
	case <-s.quit:
		return spawnResult{err: errClosed}
	}
}

// spawnWorker makes the memory and the socket to share with a worker, and starts it.
func (s *spawner) spawnWorker(as *Credential) spawnResult {
	attr, err := newSysProcAttr(as)
	if err != nil {
		return spawnResult{err: err}
	}
	mem, memory, err := newSharedMemory()
	if err != nil {
		return spawnResult{err: fmt.Errorf("start worker: %w", err)}
	}
	defer func() { _ = memory.Close() }() // both sides map it
	conn, socket, err := newSocketPair()
	if err != nil {
		sys.Unmap(mem)
		return spawnResult{err: fmt.Errorf("start worker: %w", err)}
	}
	defer func() { _ = socket.Close() }() // the worker has its own copy
	process, err := s.startProcess(attr, socket, memory)
	if err != nil {
		sys.Unmap(mem)
		_ = conn.Close() // nothing was sent
		return spawnResult{err: fmt.Errorf("start worker %s%s: %w", s.path, as.describeUser(), err)}
	}
	return spawnResult{process: process, conn: conn, mem: mem}
}

// startProcess gives the worker no environment but what keeps it small, no files, and no
// directory.
func (s *spawner) startProcess(attr *syscall.SysProcAttr, socket, memory *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }() // nothing was written
	files := []*os.File{null, null, null, check.Socket: socket, check.Memory: memory}
	return os.StartProcess(s.path, []string{workerName}, &os.ProcAttr{
		Dir:   "/",
		Env:   s.env,
		Files: files,
		Sys:   attr,
	})
}

// newSharedMemory returns memory for a page: mapped, and as a file for the worker to map.
func newSharedMemory() ([]byte, *os.File, error) {
	fd, err := sys.SharedMemory(workerName, check.ProgressPageSize)
	if err != nil {
		return nil, nil, fmt.Errorf("memory to share with the worker: %w", err)
	}
	mem, err := sys.Map(fd, check.ProgressPageSize)
	if err != nil {
		sys.Close(fd)
		return nil, nil, fmt.Errorf("map the memory to share with the worker: %w", err)
	}
	return mem, os.NewFile(uintptr(fd), "memory shared with a worker"), nil
}

// newSocketPair returns the agent's end of a socket and the worker's.
func newSocketPair() (*net.UnixConn, *os.File, error) {
	ours, theirs, err := sys.Socketpair()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	child := os.NewFile(uintptr(theirs), "worker's socket")
	parent := os.NewFile(uintptr(ours), "socket of a worker")
	defer func() { _ = parent.Close() }() // net takes a copy
	conn, err := net.FileConn(parent)
	if err != nil {
		_ = child.Close() // nothing was sent
		return nil, nil, err
	}
	return conn.(*net.UnixConn), child, nil //nolint:errcheck // of a Unix socket it is one
}
