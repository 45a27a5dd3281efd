package events

import (
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

const (
	// maxClosers is how many processes may be blocked in the kernel on namespaces that do not come
	// down. Beyond it, no further namespace is pinned.
	maxClosers = 32
	// closerTimeout is how long a process may take to close a namespace before it is killed, and
	// how long the namespaceCloser waits for its processes at the end.
	closerTimeout = 2 * time.Second
)

// namespaceCloser closes descriptors whose close may block. Closing the last reference of a mount
// namespace unmounts its file systems inside close(2), which may block in the kernel and cannot be
// killed then. So a child process does that, and is left behind if it blocks.
type namespaceCloser struct {
	program string // Options.Closer; "" closes in this process
	timeout time.Duration
	wake    chan struct{} // capacity 1

	mu      sync.Mutex
	queued  []queuedFD
	running map[*os.File]int // pidfd -> id of each process that has not ended

	goroutines sync.WaitGroup
}

// queuedFD is a descriptor that is to be closed.
type queuedFD struct {
	fd            int
	pinsNamespace bool // closing it may unmount the namespace's file systems
}

func newNamespaceCloser(program string) *namespaceCloser {
	return &namespaceCloser{program: program, timeout: closerTimeout, wake: make(chan struct{}, 1), running: map[*os.File]int{}}
}

// closeLater takes over the descriptor. It never blocks.
func (n *namespaceCloser) closeLater(fd int, pinsNamespace bool) {
	n.mu.Lock()
	n.queued = append(n.queued, queuedFD{fd: fd, pinsNamespace: pinsNamespace})
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// isFull reports whether no more namespaces may be pinned.
func (n *namespaceCloser) isFull() bool { return n.countRunning() >= maxClosers }

// countRunning returns how many child processes have not ended.
func (n *namespaceCloser) countRunning() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.running)
}

// run closes the queued descriptors until quit is closed, and then those that are left.
func (n *namespaceCloser) run(quit <-chan struct{}) {
	for {
		select {
		case <-n.wake:
			for _, c := range n.takeQueued() {
				n.closeQueued(c)
			}
		case <-quit:
			n.closeRemaining()
			return
		}
	}
}

func (n *namespaceCloser) takeQueued() []queuedFD {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := n.queued
	n.queued = nil
	return taken
}

func (n *namespaceCloser) closeQueued(c queuedFD) {
	if c.pinsNamespace {
		n.closeInChild([]int{c.fd})
	} else {
		sys.Close(c.fd)
	}
}

// closeRemaining gives all descriptors that are left to one child: this process is about to end,
// and most of the namespaces have other users.
func (n *namespaceCloser) closeRemaining() {
	var fds []int
	for _, c := range n.takeQueued() {
		if c.pinsNamespace {
			fds = append(fds, c.fd)
		} else {
			sys.Close(c.fd)
		}
	}
	if len(fds) > 0 {
		n.closeInChild(fds)
	}
	n.awaitClosers()
}

// closeInChild starts a child with copies of the descriptors, closes them here, and only then lets
// the child end. So the last close happens in the child. Without a child there is no way but to
// close them here.
func (n *namespaceCloser) closeInChild(fds []int) {
	closer, err := n.startCloser(fds)
	for _, fd := range fds {
		sys.Close(fd)
	}
	if err != nil {
		return
	}
	sys.Close(closer.socket) // it ends now
	child := os.NewFile(uintptr(closer.pidfd), "pidfd")
	n.mu.Lock()
	n.running[child] = closer.pid
	n.mu.Unlock()
	n.goroutines.Go(func() { n.awaitCloser(child, closer.pid) })
}

// closerProcess is a child that ends when its socket is closed.
type closerProcess struct{ pid, pidfd, socket int }

var errNoCloser = errors.New("no program to close mount namespaces")

// startCloser runs the program with the descriptors that a worker expects, followed by copies of
// those to close.
func (n *namespaceCloser) startCloser(fds []int) (c closerProcess, err error) {
	if n.program == "" {
		return c, errNoCloser
	}
	memory, err := sys.SharedMemory("closer", check.ProgressPageSize)
	if err != nil {
		return c, err
	}
	defer sys.Close(memory)
	ours, theirs, err := sys.Socketpair()
	if err != nil {
		return c, err
	}
	defer sys.Close(theirs)
	c.socket = ours
	// A worker has the socket at check.Socket; for any other program it is the standard input.
	files := slices.Repeat([]uintptr{uintptr(theirs)}, check.Socket+1)
	files = append(files, uintptr(memory))
	for _, fd := range fds {
		files = append(files, uintptr(fd))
	}
	c.pid, _, err = syscall.StartProcess(n.program, []string{n.program}, &syscall.ProcAttr{Dir: "/", Env: []string{}, Files: files})
	if err != nil {
		sys.Close(ours)
		return c, err
	}
	if c.pidfd, err = sys.PidfdOpen(c.pid); err != nil { // the id is the child's until it is reaped
		sys.Close(ours)
		reapChild(c.pid)
	}
	return c, err
}

// awaitCloser reaps the child when it has ended. A program that does not end by itself is killed.
func (n *namespaceCloser) awaitCloser(child *os.File, pid int) {
	defer func() { _ = child.Close() }() // nothing was written
	_ = child.SetReadDeadline(time.Now().Add(n.timeout))
	err := awaitExit(child)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // a child that is blocked in the kernel remains
		_ = child.SetReadDeadline(time.Time{})
		err = awaitExit(child)
	}
	if err == nil {
		reapChild(pid)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.running, child)
}

// awaitExit returns nil when the process of the pidfd has ended.
func awaitExit(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Read(func(fd uintptr) (done bool) {
		done, failure = sys.Ended(int(fd))
		return done || failure != nil
	})
	return errors.Join(err, failure)
}

// reapChild waits for a child that has ended, or whose state is unknown.
func reapChild(pid int) {
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// awaitClosers waits for the children until the timeout, and leaves those that are blocked to the
// process that inherits this process's children.
func (n *namespaceCloser) awaitClosers() {
	ended := make(chan struct{})
	go func() {
		n.goroutines.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-time.After(n.timeout):
	}
	n.mu.Lock()
	for child := range n.running {
		_ = child.Close() // nothing was written; makes awaitCloser return
	}
	n.mu.Unlock()
	<-ended
}
