package node

import (
	"errors"
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/view"
	"github.com/mountwarden/mountwarden/probes/worker"
)

// judgeResult fills in what a worker's result proves, and what the line of the mount proves beyond
// it. m is nil when the mount is not known.
func judgeResult(o *probes.Observation, m *mountinfo.Mount, r worker.Result, timeout time.Duration, facts view.MountFacts) {
	switch {
	case r.Err != nil:
		setUnknown(o, r.Err)
		return
	case !r.Since.IsZero():
		o.Operation, o.Started = r.Stage.Operation(), r.Since
		o.Health, o.Cause, o.Detail = probes.Broken, probes.CauseHung, "no answer within "+timeout.String()
		return
	}
	o.Operation, o.Errno = r.Answer.Stage.Operation(), r.Answer.Errno
	found := check.Judge(r.Answer)
	o.Health, o.Cause, o.Warning, o.ByDesign, o.Detail = found.Health, found.Cause, found.Warning, found.ByDesign, found.Detail
	if o.Detail == "" && r.Answer.Errno != 0 {
		o.Detail = r.Answer.Errno.Error()
	}
	if m != nil {
		facts.IsFile = r.Answer.File
		view.JudgeMountinfo(o, m, facts)
	}
}

func setUnknown(o *probes.Observation, err error) {
	o.Health, o.Cause, o.Warning, o.Detail = probes.Unknown, probes.CauseNone, probes.WarningNone, err.Error()
	o.Tentative, o.ByDesign = false, false
	if errors.Is(err, proc.ErrGone) {
		o.Detail = "the container is gone: " + err.Error()
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		o.Errno = errno
	}
}
