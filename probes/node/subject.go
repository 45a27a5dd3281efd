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

// maxChanges is how often a look starts over because the mounts changed under it.
const maxChanges = 3

// subject is one path on its way to an observation: the mount of a volume, or a mount below it.
type subject struct {
	c     *container
	mount *probes.Mount
	path  string // clean

	volume   *subject // of a mount below; nil of the volume's own
	rest     string   // of a mount below: its path relative to the volume's
	declared bool     // a mount below that must be there

	// where it is, by the latest reading of the table
	at       mountinfo.Mount
	found    bool
	standing view.HostMatch

	walked    bool   // a worker has gone the way
	landed    uint64 // the mount on which it arrived, 0 for none
	onRoot    bool   // it arrived on the root of that mount
	suspected int    // the reading by which the mount is missing; 0: it is not
	changes   int    // how often another mount was found in its place

	seen probes.Observation
	done bool
}

func newSubject(c *container, m *probes.Mount, at string, began time.Time) *subject {
	return &subject{
		c: c, mount: m, path: path.Clean(at),
		seen: probes.Observation{
			Target: probes.Target{Container: c.name, Volume: m.Volume, Path: at}, Started: began, Operation: probes.OpTable,
		},
	}
}

// silent reports whether the subject is only there for what lies below it.
func (s *subject) silent() bool { return s.volume == nil && s.mount.BelowOnly }

// locate finds the mount in the table: by its text, by where it was known to be, or by where a worker has arrived.
func (s *subject) locate() {
	if !path.IsAbs(s.seen.Target.Path) {
		s.unknown(errNotAbsolute)
		return
	}
	if s.at, s.found = s.c.table.At(s.path); s.found {
		return
	}
	if point := s.c.memory.resolve(s.path); point != "" {
		if s.at, s.found = s.c.table.At(point); s.found {
			return
		}
	}
	if s.landed == 0 {
		return
	}
	m, listed := s.c.table.ByID(int(s.landed))
	switch {
	case !listed:
		s.unknown(errUnlisted)
	case s.c.self || s.onRoot && m.MountPoint != "/":
		s.at, s.found = m, true
		if s.onRoot {
			s.c.memory.resolves(s.path, m.MountPoint)
		}
	}
}

// plan says what a worker is to do next; ask is false when there is nothing to ask.
func (s *subject) plan() (task worker.Task, ask bool) {
	switch {
	case s.found:
		return s.planTouch()
	case s.volume == nil && !s.walked:
		return s.task(0), true
	default:
		s.missing()
		return task, false
	}
}

func (s *subject) planTouch() (task worker.Task, ask bool) {
	if !s.c.self && s.volume == nil {
		if detail := view.DetectUnmounted(&s.at, s.mount.Host, &s.standing); detail != "" && !s.silent() {
			if s.isSure() {
				s.identify()
				view.SetNotMounted(&s.seen, detail, &s.standing)
				s.finish(time.Now())
			}
			return task, false
		}
	}
	s.suspected = 0
	why := view.WhyNeverProbed(s.at.FSType)
	switch {
	case s.silent():
		s.finish(time.Now())
		return task, false
	case why != "":
		s.identify()
		s.unknown(errors.New(why))
		return task, false
	}
	return s.task(uint64(s.at.ID)), true
}

// isSure reports whether a second reading agrees that the mount is missing. A reading is not atomic.
func (s *subject) isSure() bool {
	if s.suspected == 0 {
		s.suspected = s.c.reading
	}
	return s.c.reading > s.suspected
}

func (s *subject) missing() {
	switch {
	case !s.isSure():
	case s.c.table.Malformed > 0:
		s.unknown(errMalformed)
	case s.volume != nil:
		view.JudgeMissingSubmount(&s.seen, s.declared, s.mount.Host, &s.standing)
		s.finish(time.Now())
	default:
		view.SetNotMounted(&s.seen, "nothing is mounted at the path in the container", &s.standing)
		s.finish(time.Now())
	}
}

// task asks a worker to look at the mount, or with id 0 only where the path leads.
func (s *subject) task(id uint64) worker.Task {
	t := worker.Task{Target: s.c.process, Request: check.Request{MountID: id, Path: s.seen.Target.Path}}
	if id == 0 {
		return t
	}
	t.Device = s.at.Device.String()
	t.As = answers(&s.at)
	if s.volume == nil {
		t.Request.CanaryFile, t.Request.CanaryDirectory = s.mount.Canary.File, s.mount.Canary.Directory
	}
	return t
}

// answers returns the one user that a FUSE answers, nil when it answers the agent.
func answers(m *mountinfo.Mount) *worker.Credential {
	owner, only := view.OnlyAllowedUser(m)
	if !only {
		return nil
	}
	return &worker.Credential{UID: owner.UID, GID: owner.GID}
}

// take notes the result of a task.
func (s *subject) take(r worker.Result, timeout time.Duration, traitsOf func(m *mountinfo.Mount, readOnly bool) view.MountFacts) {
	switch {
	case s.found && r.Answer.Mismatch:
		s.changed()
	case s.found:
		s.identify()
		judge(&s.seen, &s.at, r, timeout, traitsOf(&s.at, s.mount.ReadOnly))
		s.weigh()
		s.finish(r.At)
	case r.Err == nil && r.Since.IsZero() && r.Answer.Errno == 0:
		s.walked, s.landed, s.onRoot, s.suspected = true, r.Answer.MountID, r.Answer.MountRoot, s.c.reading
	case !s.c.self && r.Err == nil && r.Since.IsZero() && isAbsent(r.Answer):
		s.walked, s.suspected = true, s.c.reading
	default:
		judge(&s.seen, nil, r, timeout, view.MountFacts{})
		s.finish(r.At)
	}
}

func isAbsent(a check.Answer) bool {
	return a.Stage == check.StageOpen && (a.Errno == syscall.ENOENT || a.Errno == syscall.ENOTDIR)
}

// changed starts over: the mount was replaced since the table was read.
func (s *subject) changed() {
	s.walked, s.landed, s.suspected = false, 0, 0
	s.c.memory.resolves(s.path, "")
	s.changes++
	if s.changes >= maxChanges {
		s.identify()
		s.unknown(errChanged)
	}
}

// weigh adds what the place of the mount, or who asks, says of a bad answer.
func (s *subject) weigh() {
	o := &s.seen
	switch {
	case o.Cause == probes.CauseDisconnected:
		o.Tentative = view.MayBeReplaced(s.c.table, &s.at, s.volume == nil)
	case o.Operation == probes.OpOpen && o.Errno == syscall.ESTALE && view.IsStaleRoot(s.c.table, &s.at):
		o.Health, o.Cause, o.Detail = probes.Broken, probes.CauseStale, "the mount's root folder is deleted on the NFS server"
	case s.c.self && o.ByDesign && o.Cause == probes.CauseCanaryFailed:
		o.ByDesign = false
	case s.c.self && o.ByDesign:
		o.Health, o.Cause, o.Detail, o.ByDesign = probes.Healthy, probes.CauseNone, "", false
	}
}

func (s *subject) identify() {
	s.seen.FSType, s.seen.Source, s.seen.Device = s.at.FSType, s.at.Source, s.at.Device.String()
}

func (s *subject) finish(at time.Time) { s.seen.Finished, s.done = at, true }

func (s *subject) unknown(err error) {
	unknown(&s.seen, err)
	s.finish(time.Now())
}
