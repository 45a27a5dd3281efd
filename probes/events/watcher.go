package events

import (
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

const (
	minEventInterval     = 400 * time.Millisecond // between two events of one pod
	readInterval         = 5 * time.Millisecond   // between two reads of what the kernel reports
	expireAfter          = 5 * time.Minute        // a pod that nobody calls Watch for is dropped
	maxPods              = 1024
	maxTables            = 4096 // of all pods
	maxTablesPerPod      = 64   // of one pod
	maxErrorCounters     = 4096 // ext4 file systems
	maxFileSystemsPerPod = 1024 // of one pod
)

// Options are the settings of a Watcher. The zero value is valid.
type Options struct {
	ProcRoot string // where the host's /proc is seen; default /proc
	SysRoot  string // where /sys is seen; default /sys
	// Closer is the worker (package check), or another program that ends when its standard input
	// ends. It closes the mount namespace of a process that has ended, which may block
	// indefinitely. By default a thread of this process closes it.
	Closer string
}

// WatchTarget is a process whose mount table is watched, and the file systems that its pod uses.
type WatchTarget struct {
	Process     *proc.Process // used during Watch only
	FileSystems []FileSystem
}

// FileSystem is a file system that a pod uses.
type FileSystem struct {
	mountinfo.Device
	FSType string // as in mountinfo(5)
}

// Watcher announces pods that are due for a probe. It is safe for concurrent use.
type Watcher struct {
	opts   Options
	queue  *eventQueue
	closer *namespaceCloser
	quit   chan struct{}
	loops  sync.WaitGroup

	fanotify, mountinfo, fuse, ext4 Source

	fdinfoTellsConnection bool // this kernel shows in fdinfo which connection a descriptor has

	mu       sync.Mutex
	closed   bool
	poller   *poller // nil when nothing can be watched
	pods     map[string]*watchedPod
	tables   int // of all pods
	counters map[mountinfo.Device]*errorCounter
	daemons  *daemons
	buffer   []byte // of drainGroup
}

// watchedPod is what is watched for one pod.
type watchedPod struct {
	lastWatched  time.Time
	tables       map[uint64]*tableWatch // by the serial of the process
	connections  map[connection]bool
	errorDevices map[mountinfo.Device]bool
}

// New detects the sources and returns a Watcher that watches nothing yet. The caller must Close it.
func New(opts Options) *Watcher {
	if opts.ProcRoot == "" {
		opts.ProcRoot = "/proc"
	}
	if opts.SysRoot == "" {
		opts.SysRoot = "/sys"
	}
	w := &Watcher{
		opts: opts, queue: newEventQueue(minEventInterval), closer: newNamespaceCloser(opts.Closer), quit: make(chan struct{}),
		pods: map[string]*watchedPod{}, counters: map[mountinfo.Device]*errorCounter{}, daemons: newDaemons(), buffer: make([]byte, drainBufferSize),
	}
	w.detectSources()
	w.loops.Go(func() { w.queue.run(w.quit) })
	w.loops.Go(func() { w.closer.run(w.quit) })
	if w.poller != nil {
		w.loops.Go(w.dispatchEvents)
		w.loops.Go(w.runScans)
	}
	return w
}

// Events returns the channel of events. It holds at most one event of each pod until that event is
// received, so a slow receiver loses nothing. The channel is never closed.
func (w *Watcher) Events() <-chan Event { return w.queue.out }

// Watch replaces what is watched for the pod and keeps it for five minutes. Call it at every probe,
// before the mount tables are read if possible: a change between a reading and the first Watch is
// not announced. A call that changes nothing is cheap. What cannot be watched is left to polling.
func (w *Watcher) Watch(uid string, targets []WatchTarget) {
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
		p = &watchedPod{tables: map[uint64]*tableWatch{}}
		w.pods[uid] = p
		w.queue.addPod(uid)
	}
	p.lastWatched = time.Now()
	w.watchTables(uid, p, targets)
	w.watchFileSystems(p, targets)
}

// Forget stops watching the pod. It announces nothing.
func (w *Watcher) Forget(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetPod(uid)
	w.dropUnused()
}

// Stats is a snapshot of what is watched.
type Stats struct {
	Pods        int
	Tables      int // mount tables
	Daemons     int // processes that hold a FUSE connection
	FileSystems int // whose errors are counted
	Closing     int // processes that close mount namespaces
}

// Stats returns a snapshot of what is watched.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Stats{Pods: len(w.pods), Tables: w.tables, Daemons: len(w.daemons.byPID), FileSystems: len(w.counters), Closing: w.closer.countRunning()}
}

// Close stops watching and waits for the goroutines. Nothing is announced afterwards.
func (w *Watcher) Close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.closed = true
	for uid := range w.pods {
		w.forgetPod(uid)
	}
	w.dropUnused()
	if w.poller != nil {
		w.poller.wakeWaiter()
	}
	close(w.quit)
	w.mu.Unlock()
	w.loops.Wait()
}

func (w *Watcher) watchTables(uid string, p *watchedPod, targets []WatchTarget) {
	seen := map[uint64]bool{}
	for _, s := range targets {
		if s.Process == nil || len(seen) >= maxTablesPerPod {
			continue
		}
		id := s.Process.Serial
		seen[id] = true
		if p.tables[id] != nil || w.tables >= maxTables {
			continue
		}
		if t, err := w.watchTable(uid, s.Process); err == nil {
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

func (w *Watcher) watchFileSystems(p *watchedPod, targets []WatchTarget) {
	oldConnections, oldDevices := p.connections, p.errorDevices
	p.connections, p.errorDevices = map[connection]bool{}, map[mountinfo.Device]bool{}
	for _, s := range targets {
		for _, d := range s.FileSystems {
			if len(p.connections)+len(p.errorDevices) < maxFileSystemsPerPod {
				p.addFileSystem(d)
			}
		}
	}
	if !containsAll(p.connections, oldConnections) || !containsAll(p.errorDevices, oldDevices) {
		w.dropUnused()
	}
	for d := range p.errorDevices {
		w.watchErrorCounter(d)
	}
	if !w.fuse.Available || len(p.connections) == 0 {
		return
	}
	w.daemons.addUnscanned(p.connections, oldConnections)
	if w.daemons.needsScan(time.Now()) {
		w.daemons.requestScan()
	}
}

// containsAll reports whether set has all keys of small.
func containsAll[K comparable](set, small map[K]bool) bool {
	for k := range small {
		if !set[k] {
			return false
		}
	}
	return true
}

func (p *watchedPod) addFileSystem(d FileSystem) {
	switch {
	case isFUSE(d.FSType):
		p.connections[connectionOf(d.Device)] = true
	case countsErrors(d.FSType):
		p.errorDevices[d.Device] = true
	}
}

func (w *Watcher) forgetPod(uid string) {
	p := w.pods[uid]
	if p == nil {
		return
	}
	for id := range p.tables {
		w.dropTable(uid, id)
	}
	delete(w.pods, uid)
	w.queue.removePod(uid)
}

// dropUnused drops the error counters and the daemons that no pod uses.
func (w *Watcher) dropUnused() {
	for device := range w.counters {
		if !w.anyPod(func(p *watchedPod) bool { return p.errorDevices[device] }) {
			w.dropErrorCounter(device)
		}
	}
	for id, d := range w.daemons.byPID {
		if !w.anyPod(func(p *watchedPod) bool { return p.usesAny(d.connections) }) {
			w.dropDaemon(id)
		}
	}
}

func (w *Watcher) anyPod(matches func(*watchedPod) bool) bool {
	for _, p := range w.pods {
		if matches(p) {
			return true
		}
	}
	return false
}

// expirePods drops the pods that nobody has called Watch for within expireAfter.
func (w *Watcher) expirePods(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid, p := range w.pods {
		if now.Sub(p.lastWatched) > expireAfter {
			w.forgetPod(uid)
		}
	}
	w.dropUnused()
}

// dispatchEvents handles what the kernel reports until the Watcher is closed. The pause between two
// reads limits how much work a tenant can cause.
func (w *Watcher) dispatchEvents() {
	defer w.poller.close()
	ids := make([]uint64, 64)
	for {
		ready, err := w.poller.waitEvents(ids)
		if err != nil {
			return // cannot happen: waitEvents passes nothing that epoll_wait(2) refuses
		}
		w.mu.Lock()
		w.poller.callHandlers(ready)
		w.mu.Unlock()
		select {
		case <-time.After(readInterval):
		case <-w.quit:
			return
		}
	}
}
