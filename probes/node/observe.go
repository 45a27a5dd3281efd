package node

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/worker"
)

// subject is one path to look at.
type subject struct {
	view    *view
	target  probes.Target
	anyPath bool // the path need not be a mount point
}

// observe looks at all subjects at once and returns their observations in the same order. Every
// goroutine ends with ctx: none of them waits for a file system.
func (p *Prober) observe(ctx context.Context, subjects []subject, timeout time.Duration) []probes.Observation {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	seen := make([]probes.Observation, len(subjects))
	var all sync.WaitGroup
	for i, s := range subjects {
		all.Go(func() {
			l := look{pool: p.pool, subject: s, timeout: timeout}
			l.seen = probes.Observation{Target: s.target, Started: time.Now(), Operation: probes.OpTable}
			l.run(ctx)
			l.seen.Finished = time.Now()
			seen[i] = l.seen
		})
	}
	all.Wait()
	return seen
}

// look is the observation of one subject in the making.
type look struct {
	pool    *worker.Pool
	subject subject
	timeout time.Duration
	seen    probes.Observation
}

// maxRounds is how often a look starts over because the mounts changed under it.
const maxRounds = 3

func (l *look) run(ctx context.Context) {
	table, err := l.subject.view.first()
	if err != nil {
		l.unknown(err)
		return
	}
	for range maxRounds {
		m, ok := l.locate(ctx, table)
		if !ok {
			break
		}
		if !l.touch(ctx, m) {
			break
		}
		if table, err = l.subject.view.read(); err != nil {
			l.unknown(err)
			return
		}
		l.unknown(errChanged)
	}
	l.doubt()
}

var errChanged = errors.New("the mounts changed during the look")

// touch lets a worker look at the mount. It reports whether another mount was found in its place, so that
// the look has to start over.
func (l *look) touch(ctx context.Context, m mountinfo.Mount) (again bool) {
	l.seen.FSType, l.seen.Source, l.seen.Device = m.FSType, m.Source, m.Device.String()
	if why := untouchable(m); why != "" {
		l.unknown(errors.New(why))
		return false
	}
	r := l.ask(ctx, m.Device.String(), uint64(m.ID))
	if r.Answer.Mismatch {
		return true
	}
	l.conclude(r)
	return false
}

// untouchable says why a mount is never looked at, "" for all others.
func untouchable(m mountinfo.Mount) string {
	switch m.FSType {
	case "autofs":
		return "autofs is never looked at: a look may trigger the mount"
	case "devtmpfs":
		return "a device node is never looked at: its file system tells nothing of the device"
	default:
		return ""
	}
}

func (l *look) ask(ctx context.Context, device string, mountID uint64) worker.Result {
	task := worker.Task{
		Device: device, Target: l.subject.view.process, Request: check.Request{MountID: mountID, Path: l.subject.target.Path},
	}
	return l.pool.Look(ctx, []worker.Task{task}, l.timeout)[0]
}

// conclude fills in what the result of a worker's look proves.
func (l *look) conclude(r worker.Result) {
	switch {
	case r.Err != nil:
		l.unknown(r.Err)
	case !r.Since.IsZero():
		l.seen.Operation, l.seen.Started = r.Stage.Operation(), r.Since
		l.broken(probes.CauseHung, "no answer within "+l.timeout.String())
	default:
		l.seen.Operation, l.seen.Errno = r.Answer.Stage.Operation(), r.Answer.Errno
		found := check.Judge(r.Answer)
		l.seen.Health, l.seen.Cause, l.seen.Detail = found.Health, found.Cause, found.Detail
		l.seen.Warning, l.seen.ByDesign = found.Warning, found.ByDesign
		if l.seen.Detail == "" && r.Answer.Errno != 0 {
			l.seen.Detail = r.Answer.Errno.Error()
		}
	}
}

// doubt takes back a bad verdict about a container that has ended meanwhile: its mounts went with it.
func (l *look) doubt() {
	if l.seen.Health != probes.Broken {
		return
	}
	if err := l.subject.view.process.Check(); err != nil {
		l.unknown(err)
	}
}

func (l *look) broken(cause probes.Cause, detail string) {
	l.seen.Health, l.seen.Cause, l.seen.Detail = probes.Broken, cause, detail
}

func (l *look) unknown(err error) {
	l.seen.Health, l.seen.Cause, l.seen.Detail = probes.Unknown, probes.CauseNone, err.Error()
	if errors.Is(err, proc.ErrGone) {
		l.seen.Detail = "the container is gone: " + err.Error()
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		l.seen.Errno = errno
	}
}
