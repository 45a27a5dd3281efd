package events

import (
	"maps"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

const (
	minScanPause      = time.Second      // daemons end and start in groups
	maxScanPause      = 30 * time.Second // even after a slow scan
	scanPauseFactor   = 20               // the pause is this many times as long as the scan
	rescanAfter       = 5 * time.Minute  // a daemon can pass its descriptor on without ending
	retryMissingAfter = time.Minute      // a mount repaired inside its pod may reuse the number of the broken one
	expireInterval    = time.Minute
	// unreadInterval is as long as the default period: the pods are probed as often anyway.
	unreadInterval = 10 * time.Second
)

// daemons are the processes that serve the watched FUSE connections. The Watcher's lock guards it.
type daemons struct {
	byPID         map[int]*daemon     // by process id
	unscanned     map[connection]bool // connections that are new to a pod since the last scan began
	holderMissing bool                // the last scan found no process for a connection that is in use
	wake          chan struct{}       // capacity 1: a scan is due
	lastScan      time.Time
	lastUnread    time.Time // when the end of an unread holder was last announced
}

// daemon is a process that holds a descriptor of a watched connection.
type daemon struct {
	pidfd       int
	pollID      uint64 // of pidfd in the poller
	connections map[connection]bool
}

func newDaemons() *daemons {
	return &daemons{byPID: map[int]*daemon{}, unscanned: map[connection]bool{}, wake: make(chan struct{}, 1)}
}

// requestScan makes a scan due.
func (d *daemons) requestScan() {
	select {
	case d.wake <- struct{}{}:
	default: // it is due already
	}
}

// addUnscanned notes the connections that a pod uses now and did not use before, even if other pods
// do: the kernel gives the number of an ended connection to a new one while a dead pod is still
// known by it.
func (d *daemons) addUnscanned(connections, before map[connection]bool) {
	for c := range connections {
		if !before[c] {
			d.unscanned[c] = true
		}
	}
}

// needsScan reports whether a scan is due: a connection is unscanned, or the last scan is too old.
func (d *daemons) needsScan(now time.Time) bool {
	age := now.Sub(d.lastScan)
	return len(d.unscanned) > 0 || age > rescanAfter || d.holderMissing && age > retryMissingAfter
}

// runScans scans /proc when a scan is due and the pause after the last one is over, and drops
// expired pods. It does not wait for a scan: a process that is inside execve at the wrong moment
// can block it (see proc.Process.Descriptors). Only this source is lost meanwhile.
func (w *Watcher) runScans() {
	ticker := time.NewTicker(expireInterval)
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
			go func() { scanned <- w.scanDaemons() }()
		case length := <-scanned:
			pause.Reset(length)
		case <-pause.C:
			due = w.daemons.wake
		case now := <-ticker.C:
			w.expirePods(now)
		case <-w.quit:
			return
		}
	}
}

// scanDaemons finds the daemons of the watched connections and returns how long to pause.
func (w *Watcher) scanDaemons() time.Duration {
	wanted, unscanned := w.takeWanted()
	if len(wanted) == 0 {
		w.applyScan(nil, nil, nil)
		return 0
	}
	start := time.Now()
	found, err := findHolders(w.opts.ProcRoot, w.fdinfoTellsConnection, wanted, w.quit)
	took := time.Since(start)
	if err == nil {
		w.applyScan(found, wanted, unscanned)
	} else {
		w.returnUnscanned(unscanned)
	}
	return scanPause(took)
}

// scanPause returns the pause after a scan, so that scans take a bounded share of a CPU.
func scanPause(took time.Duration) time.Duration {
	return min(max(scanPauseFactor*took, minScanPause), maxScanPause)
}

// takeWanted returns the connections of all pods, and takes the unscanned ones off the list.
func (w *Watcher) takeWanted() (wanted, unscanned map[connection]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted, unscanned = map[connection]bool{}, w.daemons.unscanned
	for _, p := range w.pods {
		maps.Copy(wanted, p.connections)
	}
	w.daemons.unscanned = map[connection]bool{}
	return wanted, unscanned
}

// returnUnscanned puts the connections back after a scan that failed.
func (w *Watcher) returnUnscanned(unscanned map[connection]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.daemons.unscanned, unscanned)
}

// applyScan replaces the known daemons by those found, and announces the unscanned connections that
// none of them holds: their daemons most likely ended between the probe that found the mounts and
// this scan.
func (w *Watcher) applyScan(found []holder, wanted, unscanned map[connection]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.announceFUSE(findUnheld(unscanned, found))
	w.daemons.holderMissing, w.daemons.lastScan = len(findUnheld(wanted, found)) > 0, time.Now()
	alive := map[int]bool{}
	for _, h := range found {
		if !w.closed {
			w.holdDaemon(h)
			alive[h.process.PID] = true
		}
		h.process.Release()
	}
	for pid := range w.daemons.byPID {
		if !alive[pid] {
			w.dropDaemon(pid)
		}
	}
	w.dropUnused() // a pod may have been forgotten during the scan
}

// findUnheld returns the connections that no process is known to hold. A holder of anyConnection
// may hold each of them. A holder of unreadConnection does not count: a tenant may have made it.
func findUnheld(connections map[connection]bool, found []holder) map[connection]bool {
	unheld := map[connection]bool{}
	for c := range connections {
		if !slices.ContainsFunc(found, func(h holder) bool { return h.connections[c] || h.connections[anyConnection] }) {
			unheld[c] = true
		}
	}
	return unheld
}

// holdDaemon opens a pidfd of the process unless it has one. A process that has ended since the
// scan leaves its connections to another process or to none, so a probe is due.
func (w *Watcher) holdDaemon(h holder) {
	pid := h.process.PID
	if d := w.daemons.byPID[pid]; d != nil {
		if ended, err := sys.Ended(d.pidfd); err == nil && !ended { // its id was not reused
			d.connections = h.connections
			return
		}
		w.handleDaemonEnd(pid)
	}
	pidfd, err := openPidfd(h.process)
	if err != nil {
		w.announceFUSE(h.connections)
		return
	}
	d := &daemon{pidfd: pidfd, connections: h.connections}
	if d.pollID, err = w.poller.registerFD(pidfd, sys.PollIn, func() { w.handleDaemonEnd(pid) }); err != nil {
		sys.Close(pidfd)
		return
	}
	w.daemons.byPID[pid] = d
}

// handleDaemonEnd announces the end and requests a scan for another holder of the connections.
func (w *Watcher) handleDaemonEnd(pid int) {
	d := w.daemons.byPID[pid]
	w.dropDaemon(pid)
	w.announceFUSE(d.connections)
	w.daemons.requestScan()
}

func (w *Watcher) dropDaemon(pid int) {
	d := w.daemons.byPID[pid]
	w.poller.unregisterFD(d.pollID)
	sys.Close(d.pidfd)
	delete(w.daemons.byPID, pid)
}

// announceFUSE announces to the pods that use the connections that a holder has ended, or that
// there is none.
//
// A process whose connections were not read may be anybody's, which holds a file of that name and ends
// as often as it likes: such an end counts once in a while.
func (w *Watcher) announceFUSE(connections map[connection]bool) {
	if connections[unreadConnection] {
		now := time.Now()
		if now.Sub(w.daemons.lastUnread) < unreadInterval {
			return
		}
		w.daemons.lastUnread = now
	}
	for uid, p := range w.pods {
		if p.usesAny(connections) {
			w.queue.announceEvent(uid, probes.TriggerFUSEDaemon)
		}
	}
}

// usesAny reports whether the pod uses one of the connections, or may use it.
func (p *watchedPod) usesAny(connections map[connection]bool) bool {
	for c := range p.connections {
		if connections[c] || connections[anyConnection] || connections[unreadConnection] {
			return true
		}
	}
	return false
}
