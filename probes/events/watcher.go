package events

import (
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

const (
	gap         = 400 * time.Millisecond // between two events of one pod
	pace        = 5 * time.Millisecond   // between two looks at what has happened
	forgetAfter = 5 * time.Minute        // a pod that is not renewed is let go
	maxPods     = 1024
	maxTables   = 4096 // of all pods
	podTables   = 64   // of one pod
	maxDevices  = 4096 // ext4 file systems
	podDevices  = 1024 // of one pod
)

// Options are the settings of a Watcher. The zero value is valid.
type Options struct {
	ProcRoot string // where the host's /proc is seen; default /proc
	SysRoot  string // where /sys is seen; default /sys
	// Closer is the worker (package check), or another program that ends when its standard input ends. It is run to close the mount
	// namespace of a process that has ended, which may take for ever. Default: it is closed in a thread of this process.
	Closer string
}

// Subject is a process whose mount table is watched, and the file systems that its pod uses.
type Subject struct {
	Process *proc.Process // used during Watch only
	Devices []Device
}

// Device is a file system.
type Device struct {
	mountinfo.Device
	FSType string // as in mountinfo(5)
}

// Watcher announces looks that are due. It is safe for concurrent use.
type Watcher struct {
	opts     Options
	queue    *queue
	releaser *releaser
	quit     chan struct{}
	loops    sync.WaitGroup

	fanotify, mountinfo, fuse, ext4 Source

	tells bool // this kernel tells the connection of a FUSE daemon

	mu      sync.Mutex
	closed  bool
	poller  *poller // nil when nothing can be watched
	pods    map[string]*pod
	tables  int // of all pods
	errors  map[mountinfo.Device]*errorCount
	daemons *daemons
	buffer  []byte // of drain
}

// pod is what is watched for one pod.
type pod struct {
	renewed     time.Time
	tables      map[uint64]*table // by the serial of the process
	connections map[connection]bool
	errors      map[mountinfo.Device]bool
}

// New tries the sources and returns a Watcher that watches nothing yet. Close it.
func New(opts Options) *Watcher {
	if opts.ProcRoot == "" {
		opts.ProcRoot = "/proc"
	}
	if opts.SysRoot == "" {
		opts.SysRoot = "/sys"
	}
	w := &Watcher{
		opts: opts, queue: newQueue(gap), releaser: newReleaser(opts.Closer), quit: make(chan struct{}),
		pods: map[string]*pod{}, errors: map[mountinfo.Device]*errorCount{}, daemons: newDaemons(), buffer: make([]byte, drainBuffer),
	}
	w.try()
	w.loops.Go(func() { w.queue.run(w.quit) })
	w.loops.Go(func() { w.releaser.run(w.quit) })
	if w.poller != nil {
		w.loops.Go(w.listen)
		w.loops.Go(w.tend)
	}
	return w
}

// Events hands out what is due. It holds at most one event of a pod until that is received; nothing is lost by receiving
// slowly. It is never closed.
func (w *Watcher) Events() <-chan Event { return w.queue.out }

// Watch replaces what is watched for the pod, and renews it for five minutes. Call it at every look, before the mount tables are read
// if possible: what changes between a reading and the first Watch is not announced. It is cheap when nothing has changed. What cannot
// be watched is left to polling.
func (w *Watcher) Watch(uid string, subjects []Subject) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.poller == nil {
		return
	}
	p := w.pods[uid]
	if p == nil {
		if len(w.pods) >= maxPods {
			return
		}
		p = &pod{tables: map[uint64]*table{}}
		w.pods[uid] = p
		w.queue.add(uid)
	}
	p.renewed = time.Now()
	w.watchTables(uid, p, subjects)
	w.watchDevices(p, subjects)
}

// Forget lets go of the pod. It is no event.
func (w *Watcher) Forget(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(uid)
	w.dropUnused()
}

// Stats is a snapshot of what is watched.
type Stats struct {
	Pods        int
	Tables      int // mount tables
	Daemons     int // processes that hold the connection of a FUSE
	FileSystems int // whose errors are counted
	Closing     int // processes that close mount namespaces
}

// Stats returns a snapshot of what is watched.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Stats{Pods: len(w.pods), Tables: w.tables, Daemons: len(w.daemons.held), FileSystems: len(w.errors), Closing: w.releaser.pending()}
}

// Close lets go of everything and ends what runs. Nothing is announced any more.
func (w *Watcher) Close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.closed = true
	for uid := range w.pods {
		w.forget(uid)
	}
	w.dropUnused()
	if w.poller != nil {
		w.poller.interrupt()
	}
	close(w.quit)
	w.mu.Unlock()
	w.loops.Wait()
}

func (w *Watcher) watchTables(uid string, p *pod, subjects []Subject) {
	seen := map[uint64]bool{}
	for _, s := range subjects {
		if s.Process == nil || len(seen) >= podTables {
			continue
		}
		id := s.Process.Serial
		seen[id] = true
		if p.tables[id] != nil || w.tables >= maxTables {
			continue
		}
		if t, err := w.openTable(uid, s.Process); err == nil {
			p.tables[id] = t
			w.tables++
		}
	}
	for id := range p.tables {
		if !seen[id] {
			w.dropTable(uid, id)
		}
	}
}

func (w *Watcher) watchDevices(p *pod, subjects []Subject) {
	connections, errors := p.connections, p.errors
	p.connections, p.errors = map[connection]bool{}, map[mountinfo.Device]bool{}
	for _, s := range subjects {
		for _, d := range s.Devices {
			if len(p.connections)+len(p.errors) < podDevices {
				p.use(d)
			}
		}
	}
	if !contains(p.connections, connections) || !contains(p.errors, errors) {
		w.dropUnused()
	}
	for d := range p.errors {
		w.watchErrors(d)
	}
	if !w.fuse.Available || len(p.connections) == 0 {
		return
	}
	w.daemons.use(p.connections, connections)
	if w.daemons.lack(time.Now()) {
		w.daemons.due()
	}
}

// contains reports whether all of small is in set.
func contains[K comparable](set, small map[K]bool) bool {
	for k := range small {
		if !set[k] {
			return false
		}
	}
	return true
}

func (p *pod) use(d Device) {
	switch {
	case isFUSE(d.FSType):
		p.connections[connectionOf(d.Device)] = true
	case countsErrors(d.FSType):
		p.errors[d.Device] = true
	}
}

func (w *Watcher) forget(uid string) {
	p := w.pods[uid]
	if p == nil {
		return
	}
	for id := range p.tables {
		w.dropTable(uid, id)
	}
	delete(w.pods, uid)
	w.queue.remove(uid)
}

// dropUnused lets go of file systems and daemons that no pod uses.
func (w *Watcher) dropUnused() {
	for device := range w.errors {
		if !w.used(func(p *pod) bool { return p.errors[device] }) {
			w.dropErrors(device)
		}
	}
	for id, d := range w.daemons.held {
		if !w.used(func(p *pod) bool { return p.uses(d.connections) }) {
			w.dropDaemon(id)
		}
	}
}

func (w *Watcher) used(by func(*pod) bool) bool {
	for _, p := range w.pods {
		if by(p) {
			return true
		}
	}
	return false
}

// expire lets go of pods that were not renewed.
func (w *Watcher) expire(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid, p := range w.pods {
		if now.Sub(p.renewed) > forgetAfter {
			w.forget(uid)
		}
	}
	w.dropUnused()
}

// listen passes on what the kernel reports until the Watcher is closed. Its pace limits what a tenant can make it do.
func (w *Watcher) listen() {
	defer w.poller.close()
	ids := make([]uint64, 64)
	for {
		happened, err := w.poller.wait(ids)
		if err != nil {
			return // cannot be: wait gets nothing that epoll_wait(2) refuses
		}
		w.mu.Lock()
		w.poller.dispatch(happened)
		w.mu.Unlock()
		select {
		case <-time.After(pace):
		case <-w.quit:
			return
		}
	}
}
