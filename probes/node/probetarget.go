package node

import (
	"errors"
	"path"
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
	"github.com/mountwarden/mountwarden/probes/worker"
)

var (
	errNotAbsolute = errors.New("the path is not absolute")
	errMalformed   = errors.New("no mount found at the path, but a line of the mount table could not be understood")
	errUnlisted    = errors.New("the path is on a mount that is not in the mount table")
	errChanged     = errors.New("the mounts changed during the look")
)

// maxReplacements is how often a target starts over because another mount was found in its place.
const maxReplacements = 3

// probeTarget is one path that is being probed: the mount of a volume, or a mount below it.
type probeTarget struct {
	container *container
	mount     *probes.Mount
	path      string // clean

	volume   *probeTarget // of a mount below a volume; nil for the volume's own mount
	relPath  string       // of a mount below a volume: relative to the volume's path
	declared bool         // a mount below a volume that must be there

	// These are valid for the latest reading of the table.
	tableMount mountinfo.Mount
	found      bool
	hostMatch  view.HostMatch

	pathResolved    bool   // a worker has resolved the path
	resolvedMountID uint64 // the mount that the path leads to, 0 for none
	isMountRoot     bool   // the path leads to the root of that mount
	missingSince    int    // the number of the first reading without the mount; 0: it is not missing
	replacements    int    // how often another mount was found in its place

	observation probes.Observation
	done        bool
}

func newProbeTarget(c *container, m *probes.Mount, at string, began time.Time) *probeTarget {
	return &probeTarget{
		container: c, mount: m, path: path.Clean(at),
		observation: probes.Observation{
			Target: probes.Target{Container: c.name, Volume: m.Volume, Path: at}, Started: began, Operation: probes.OpTable,
		},
	}
}

// isBelowOnly reports whether only the mounts below the volume are probed, not the volume itself.
func (t *probeTarget) isBelowOnly() bool { return t.volume == nil && t.mount.BelowOnly }

// locateMount finds the mount in the table: by its path, by what the path resolved to in an earlier
// probe, or by what a worker has just resolved it to.
func (t *probeTarget) locateMount() {
	if !path.IsAbs(t.observation.Target.Path) {
		t.markUnknown(errNotAbsolute)
		return
	}
	if t.tableMount, t.found = t.container.table.At(t.path); t.found {
		return
	}
	if point := t.container.state.findResolved(t.path); point != "" {
		if t.tableMount, t.found = t.container.table.At(point); t.found {
			return
		}
	}
	if t.resolvedMountID == 0 {
		return
	}
	m, listed := t.container.table.ByID(int(t.resolvedMountID))
	switch {
	case !listed:
		t.markUnknown(errUnlisted)
	case t.container.self || t.isMountRoot && m.MountPoint != "/":
		t.tableMount, t.found = m, true
		if t.isMountRoot {
			t.container.state.setResolved(t.path, m.MountPoint)
		}
	}
}

// planTask returns the next task for a worker. ask is false when there is none.
func (t *probeTarget) planTask() (task worker.Task, ask bool) {
	switch {
	case t.found:
		return t.planProbe()
	case t.volume == nil && !t.pathResolved:
		return t.newTask(0), true
	default:
		t.judgeMissing()
		return task, false
	}
}

// planProbe returns a task to probe the mount that was found, unless the tables prove that it is
// not the volume's, or it is never probed.
func (t *probeTarget) planProbe() (task worker.Task, ask bool) {
	if !t.container.self && t.volume == nil {
		if detail := view.DetectUnmounted(&t.tableMount, t.mount.Host, &t.hostMatch); detail != "" && !t.isBelowOnly() {
			if t.confirmMissing() {
				t.setIdentity()
				view.SetNotMounted(&t.observation, detail, &t.hostMatch)
				t.markDone(time.Now())
			}
			return task, false
		}
	}
	t.missingSince = 0
	why := view.WhyNeverProbed(t.tableMount.FSType)
	switch {
	case t.isBelowOnly():
		t.markDone(time.Now())
		return task, false
	case why != "":
		t.setIdentity()
		t.markUnknown(errors.New(why))
		return task, false
	}
	return t.newTask(uint64(t.tableMount.ID)), true
}

// confirmMissing reports whether a second reading of the table confirms that the mount is missing.
// One reading does not prove it: reading mountinfo is not atomic.
func (t *probeTarget) confirmMissing() bool {
	if t.missingSince == 0 {
		t.missingSince = t.container.readings
	}
	return t.container.readings > t.missingSince
}

// judgeMissing makes the observation of a mount that is missing for sure.
func (t *probeTarget) judgeMissing() {
	switch {
	case !t.confirmMissing():
	case t.container.table.Malformed > 0:
		t.markUnknown(errMalformed)
	case t.volume != nil:
		view.JudgeMissingSubmount(&t.observation, t.declared, t.mount.Host, &t.hostMatch)
		t.markDone(time.Now())
	default:
		view.SetNotMounted(&t.observation, "nothing is mounted at the path in the container", &t.hostMatch)
		t.markDone(time.Now())
	}
}

// newTask returns a task to probe the mount, or with id 0 only to resolve the path.
func (t *probeTarget) newTask(id uint64) worker.Task {
	task := worker.Task{Target: t.container.process, Request: check.Request{MountID: id, Path: t.observation.Target.Path}}
	if id == 0 {
		return task
	}
	task.Device = t.tableMount.Device.String()
	task.As = chooseCredential(&t.tableMount)
	if t.volume == nil {
		task.Request.CanaryFile, task.Request.CanaryDirectory = t.mount.Canary.File, t.mount.Canary.Directory
	}
	return task
}

// chooseCredential returns the one user that a FUSE file system answers, or nil if it answers the
// agent.
func chooseCredential(m *mountinfo.Mount) *worker.Credential {
	user, only := view.OnlyAllowedUser(m)
	if !only {
		return nil
	}
	return &worker.Credential{UID: user.UID, GID: user.GID}
}

// factsFunc is Prober.collectFacts.
type factsFunc func(m *mountinfo.Mount, readOnly bool) view.MountFacts

// applyResult records the result of a task.
func (t *probeTarget) applyResult(r worker.Result, timeout time.Duration, collectFacts factsFunc) {
	switch {
	case t.found && r.Answer.Mismatch:
		t.restartTarget()
	case t.found:
		t.setIdentity()
		judgeResult(&t.observation, &t.tableMount, r, timeout, collectFacts(&t.tableMount, t.mount.ReadOnly))
		t.adjustCause()
		t.markDone(r.At)
	case r.Err == nil && r.Since.IsZero() && r.Answer.Errno == 0:
		t.pathResolved, t.resolvedMountID, t.isMountRoot, t.missingSince = true, r.Answer.MountID, r.Answer.MountRoot, t.container.readings
	case !t.container.self && r.Err == nil && r.Since.IsZero() && isAbsent(r.Answer):
		t.pathResolved, t.missingSince = true, t.container.readings
	default:
		judgeResult(&t.observation, nil, r, timeout, view.MountFacts{})
		t.markDone(r.At)
	}
}

func isAbsent(a check.Answer) bool {
	return a.Stage == check.StageOpen && (a.Errno == syscall.ENOENT || a.Errno == syscall.ENOTDIR)
}

// restartTarget starts over with a mount that was replaced since the table was read.
func (t *probeTarget) restartTarget() {
	t.pathResolved, t.resolvedMountID, t.missingSince = false, 0, 0
	t.container.state.setResolved(t.path, "")
	t.replacements++
	if t.replacements >= maxReplacements {
		t.setIdentity()
		t.markUnknown(errChanged)
	}
}

// adjustCause adjusts a bad observation by where the mount is, and by who asks for the probe.
func (t *probeTarget) adjustCause() {
	o := &t.observation
	switch {
	case o.Cause == probes.CauseDisconnected:
		o.Tentative = view.MayBeReplaced(t.container.table, &t.tableMount, t.volume == nil)
	case o.Operation == probes.OpOpen && o.Errno == syscall.ESTALE && view.IsStaleRoot(t.container.table, &t.tableMount):
		o.Health, o.Cause, o.Detail = probes.Broken, probes.CauseStale, "the mount's root folder is deleted on the NFS server"
	case t.container.self && o.ByDesign && o.Cause == probes.CauseCanaryFailed:
		o.ByDesign = false
	case t.container.self && o.ByDesign:
		o.Health, o.Cause, o.Detail, o.ByDesign = probes.Healthy, probes.CauseNone, "", false
	}
}

func (t *probeTarget) setIdentity() {
	t.observation.FSType, t.observation.Source, t.observation.Device = t.tableMount.FSType, t.tableMount.Source, t.tableMount.Device.String()
}

func (t *probeTarget) markDone(at time.Time) { t.observation.Finished, t.done = at, true }

func (t *probeTarget) markUnknown(err error) {
	setUnknown(&t.observation, err)
	t.markDone(time.Now())
}
