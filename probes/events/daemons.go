package events

import (
	"maps"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

const (
	shortestRest = time.Second      // between two scans of /proc: daemons end and start in groups
	longestRest  = 30 * time.Second // however long a scan took
	scanShare    = 20               // the rest is at least that many times as long as the scan
	rescanAfter  = 5 * time.Minute  // descriptors are handed over without anybody's end
	missedAfter  = time.Minute      // a mount that is repaired inside its pod may have the number of the broken one
	tendInterval = time.Minute
)

// daemons knows the processes that serve the watched FUSE connections. It is guarded by the Watcher's lock.
type daemons struct {
	held    map[int]*daemon     // by process id
	fresh   map[connection]bool // connections that pods have begun to use and no scan has looked for since
	missed  bool                // the last scan has found no process for one that is in use
	wake    chan struct{}       // capacity 1: a scan is due
	scanned time.Time
}

// daemon is a process that holds a descriptor of a watched connection.
type daemon struct {
	pidfd       int
	id          uint64 // of pidfd in the poller
	connections map[connection]bool
}

func newDaemons() *daemons {
	return &daemons{held: map[int]*daemon{}, fresh: map[connection]bool{}, wake: make(chan struct{}, 1)}
}

// due makes a scan due.
func (d *daemons) due() {
	select {
	case d.wake <- struct{}{}:
	default: // it is
	}
}

// use notes what a pod uses now and did not before, even if others do: the kernel gives the number of a connection that has ended to
// another one, while a dead pod is still known by it.
func (d *daemons) use(connections, before map[connection]bool) {
	for c := range connections {
		if !before[c] {
			d.fresh[c] = true
		}
	}
}

// lack reports whether a scan is due: some connection is fresh, or the last scan is old.
func (d *daemons) lack(now time.Time) bool {
	age := now.Sub(d.scanned)
	return len(d.fresh) > 0 || age > rescanAfter || d.missed && age > missedAfter
}

// tend scans /proc when that is due and has paused long enough since the last time, and lets go of
// what was not renewed. It does not wait for a scan: a process that goes into execve at the wrong
// moment can keep that waiting (see proc.Descriptors). Then this source is lost for as long, and no
// other.
func (w *Watcher) tend() {
	ticker := time.NewTicker(tendInterval)
	defer ticker.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	due := w.daemons.wake
	scanned := make(chan time.Duration, 1)
	for {
		select {
		case <-due:
			due = nil
			go func() { scanned <- w.scan() }()
		case rest := <-scanned:
			pause.Reset(rest)
		case <-pause.C:
			due = w.daemons.wake
		case now := <-ticker.C:
			w.expire(now)
		case <-w.quit:
			return
		}
	}
}

// scan finds the daemons of the watched connections and returns how long to rest.
func (w *Watcher) scan() time.Duration {
	wanted, fresh := w.wanted()
	if len(wanted) == 0 {
		w.settle(nil, nil, nil)
		return 0
	}
	start := time.Now()
	found, err := findHolders(w.opts.ProcRoot, w.tells, wanted, w.quit)
	took := time.Since(start)
	if err == nil {
		w.settle(found, wanted, fresh)
	} else {
		w.putBack(fresh)
	}
	return rest(took)
}

func rest(took time.Duration) time.Duration {
	return min(max(scanShare*took, shortestRest), longestRest)
}

// wanted returns the connections of all pods, and takes those of them that are fresh.
func (w *Watcher) wanted() (wanted, fresh map[connection]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted, fresh = map[connection]bool{}, w.daemons.fresh
	for _, p := range w.pods {
		maps.Copy(wanted, p.connections)
	}
	w.daemons.fresh = map[connection]bool{}
	return wanted, fresh
}

// putBack has the connections looked for again.
func (w *Watcher) putBack(fresh map[connection]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.daemons.fresh, fresh)
}

// settle replaces the held daemons by those found, and announces the fresh connections that none of them holds: their daemons have most
// likely ended between the look that found the mounts and this scan.
func (w *Watcher) settle(found []holder, wanted, fresh map[connection]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.announceFUSE(unheld(fresh, found))
	w.daemons.missed, w.daemons.scanned = len(unheld(wanted, found)) > 0, time.Now()
	stay := map[int]bool{}
	for _, h := range found {
		if !w.closed {
			w.holdDaemon(h)
			stay[h.process.PID] = true
		}
		h.process.Release()
	}
	for pid := range w.daemons.held {
		if !stay[pid] {
			w.dropDaemon(pid)
		}
	}
	w.dropUnused() // a pod may have been forgotten during the scan
}

// unheld returns the connections that no process is known to hold. Where the kernel does not tell
// them, any holder may hold each; where it does, one that was not asked is nobody's excuse: a
// tenant may have made it.
func unheld(connections map[connection]bool, found []holder) map[connection]bool {
	none := map[connection]bool{}
	for c := range connections {
		if !slices.ContainsFunc(found, func(h holder) bool { return h.connections[c] || h.connections[anyConnection] }) {
			none[c] = true
		}
	}
	return none
}

// holdDaemon takes a pidfd of the process unless it has one. A process that has ended since the scan has left its
// connections to nobody, or to a successor: that is worth a look.
func (w *Watcher) holdDaemon(h holder) {
	pid := h.process.PID
	if d := w.daemons.held[pid]; d != nil {
		if ended, err := sys.Ended(d.pidfd); err == nil && !ended { // its id was not used again
			d.connections = h.connections
			return
		}
		w.daemonEnded(pid)
	}
	pidfd, err := pidfdOf(h.process)
	if err != nil {
		w.announceFUSE(h.connections)
		return
	}
	d := &daemon{pidfd: pidfd, connections: h.connections}
	if d.id, err = w.poller.add(pidfd, sys.PollIn, func() { w.daemonEnded(pid) }); err != nil {
		sys.Close(pidfd)
		return
	}
	w.daemons.held[pid] = d
}

// daemonEnded announces the end and has a successor looked for.
func (w *Watcher) daemonEnded(pid int) {
	d := w.daemons.held[pid]
	w.dropDaemon(pid)
	w.announceFUSE(d.connections)
	w.daemons.due()
}

func (w *Watcher) dropDaemon(pid int) {
	d := w.daemons.held[pid]
	w.poller.remove(d.id)
	sys.Close(d.pidfd)
	delete(w.daemons.held, pid)
}

// announceFUSE announces that a holder of the connections has ended, or is not there.
func (w *Watcher) announceFUSE(connections map[connection]bool) {
	for uid, p := range w.pods {
		if p.uses(connections) {
			w.queue.announce(uid, probes.TriggerFUSEDaemon)
		}
	}
}

// uses reports whether one of the connections is the pod's, or may be.
func (p *pod) uses(connections map[connection]bool) bool {
	for c := range p.connections {
		if connections[c] || connections[anyConnection] || connections[untoldConnection] {
			return true
		}
	}
	return false
}
