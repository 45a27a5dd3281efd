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
	// maxStuck is how many processes may wait inside the kernel for namespaces that do not come down; beyond, no namespace is
	// pinned any more.
	maxStuck = 32
	// closerPatience is how long a process may take to close a namespace before it is killed, and Close waits for them.
	closerPatience = 2 * time.Second
)

// releaser closes descriptors that may be the last reference of a mount namespace, or take their time for another reason.
// Closing the former is left to a process each, which ends then, or waits for the file systems that it takes down.
type releaser struct {
	closer   string // the program; "" closes in this process
	patience time.Duration
	wake     chan struct{} // capacity 1

	mu      sync.Mutex
	waiting []release
	running map[*os.File]int // pidfd -> id of each process that has not ended

	goroutines sync.WaitGroup
}

// release is a descriptor that is to be closed.
type release struct {
	fd   int
	pins bool // it pins a mount namespace
}

func newReleaser(closer string) *releaser {
	return &releaser{closer: closer, patience: closerPatience, wake: make(chan struct{}, 1), running: map[*os.File]int{}}
}

// put takes over the descriptor. It does not block.
func (r *releaser) put(fd int, pins bool) {
	r.mu.Lock()
	r.waiting = append(r.waiting, release{fd: fd, pins: pins})
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

// stuck reports whether too many processes have not ended to start more without need.
func (r *releaser) stuck() bool { return r.pending() >= maxStuck }

// pending returns how many processes have not ended.
func (r *releaser) pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.running)
}

// run closes what is put until quit is closed, and then what is left.
func (r *releaser) run(quit <-chan struct{}) {
	for {
		select {
		case <-r.wake:
			for _, c := range r.take() {
				r.close(c)
			}
		case <-quit:
			r.finish()
			return
		}
	}
}

func (r *releaser) take() []release {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.waiting
	r.waiting = nil
	return taken
}

func (r *releaser) close(c release) {
	if c.pins {
		r.leave([]int{c.fd})
	} else {
		sys.Close(c.fd)
	}
}

// finish leaves all pins to one process: this one is about to end, and most of the namespaces live on.
func (r *releaser) finish() {
	var pins []int
	for _, c := range r.take() {
		if c.pins {
			pins = append(pins, c.fd)
		} else {
			sys.Close(c.fd)
		}
	}
	if len(pins) > 0 {
		r.leave(pins)
	}
	r.letGo()
}

// leave closes the descriptors while a closer has copies of them, and lets that end only then: the last one to close is the closer,
// for sure. Without a closer there is no other way than to close them here.
func (r *releaser) leave(fds []int) {
	closer, err := r.start(fds)
	for _, fd := range fds {
		sys.Close(fd)
	}
	if err != nil {
		return
	}
	sys.Close(closer.socket) // it ends now
	child := os.NewFile(uintptr(closer.pidfd), "pidfd")
	r.mu.Lock()
	r.running[child] = closer.pid
	r.mu.Unlock()
	r.goroutines.Go(func() { r.await(child, closer.pid) })
}

// closer is a process that lives until its socket is closed.
type closer struct{ pid, pidfd, socket int }

var errNoCloser = errors.New("no program to close mount namespaces")

// start runs the program with the descriptors of a worker, and then with copies of those that it is to close.
func (r *releaser) start(fds []int) (c closer, err error) {
	if r.closer == "" {
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
	files := slices.Repeat([]uintptr{uintptr(theirs)}, check.Socket+1) // for others than a worker it is their standard input
	files = append(files, uintptr(memory))
	for _, fd := range fds {
		files = append(files, uintptr(fd))
	}
	c.pid, _, err = syscall.StartProcess(r.closer, []string{r.closer}, &syscall.ProcAttr{Dir: "/", Env: []string{}, Files: files})
	if err != nil {
		sys.Close(ours)
		return c, err
	}
	if c.pidfd, err = sys.PidfdOpen(c.pid); err != nil { // the id is the child's until it is reaped
		sys.Close(ours)
		reap(c.pid)
	}
	return c, err
}

// await reaps the process when it has ended. One that was not meant to be a closer and does not end is killed.
func (r *releaser) await(child *os.File, pid int) {
	defer func() { _ = child.Close() }() // nothing was written
	_ = child.SetReadDeadline(time.Now().Add(r.patience))
	err := awaitEnd(child)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // what waits inside the kernel stays
		_ = child.SetReadDeadline(time.Time{})
		err = awaitEnd(child)
	}
	if err == nil {
		reap(pid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, child)
}

// awaitEnd returns nil when the process of the pidfd has ended.
func awaitEnd(pidfd *os.File) error {
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

// reap waits for a child that has ended, or that nothing is known of.
func reap(pid int) {
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// letGo gives the processes a moment, and leaves those that are stuck to whoever reaps this process's children.
func (r *releaser) letGo() {
	ended := make(chan struct{})
	go func() {
		r.goroutines.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-time.After(r.patience):
	}
	r.mu.Lock()
	for child := range r.running {
		_ = child.Close() // nothing was written; ends await
	}
	r.mu.Unlock()
	<-ended
}
