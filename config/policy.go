package config

import (
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/probes"
)

// Policy is what the annotations of one pod ask for, within the administrator's limits.
type Policy struct {
	Watch            bool               // the pod has opted in; when false the rest is zero
	Mode             Mode               // act only when it is ModeRemediate
	Action           Action             // how to act
	Period           time.Duration      // from one probe of a mount to the next
	Timeout          time.Duration      // in which a mount must answer
	FailureThreshold int                // consecutive failed probes, for causes that are not permanent
	InitialDelay     time.Duration      // from a container's start to the first probe of its mounts
	Hang             time.Duration      // without an answer until a mount has failed; never less than Timeout
	Settle           time.Duration      // from failure to act
	AllowUnmanaged   bool               // act although the pod has no controller
	Containers       []probes.Container // what to probe, without the containers' ids
}

// Watches reports whether the policy asks for probes of the target: a watched mount, or one below
// it.
func (p Policy) Watches(t probes.Target) bool {
	for _, c := range p.Containers {
		if c.Name == t.Container && slices.ContainsFunc(c.Mounts, func(m probes.Mount) bool { return m.Volume == t.Volume && probes.Below(t.Path, m.Path) }) {
			return true
		}
	}
	return false
}

// ParsePolicy reads a pod's annotations. cfg has passed Validate.
//
// An invalid annotation never leads to an eviction. With an error (ErrInvalid, all problems joined,
// each naming the annotation, its value and what is allowed) the Policy is in ModeReport and holds
// what is valid. A pod that has not opted in has the zero Policy and no error.
//
// It reads the pod's annotations, volumes and containers with their volumeMounts and, of init
// containers, the restartPolicy. A cache must not strip these.
func ParsePolicy(pod *corev1.Pod, cfg Config) (Policy, error) {
	if watch, set := pod.Annotations[AnnotationWatch]; !set || watch == "false" {
		return Policy{}, nil
	}
	a := &annotationParser{values: pod.Annotations}
	a.parseBool(AnnotationWatch)
	a.rejectUnknown()
	policy := a.parseSettings(cfg)
	policy.Containers = a.parseContainers(pod)
	if len(a.problems) > 0 {
		policy.Mode = ModeReport
	}
	return policy, errors.Join(a.problems...)
}

// parseSettings reads everything but the containers.
func (a *annotationParser) parseSettings(cfg Config) Policy {
	d := cfg.Defaults
	parseChoice(a, AnnotationMode, &d.Mode, listModes())
	parseChoice(a, AnnotationAction, &d.Action, cfg.Limits.AllowedActions)
	for _, n := range d.listNumbers(cfg.Limits) {
		a.parseNumber(n)
	}
	if a.addProblem(d.checkHang(AnnotationHangSeconds)) {
		d.HangSeconds = d.TimeoutSeconds
	}
	return Policy{
		Watch:            true,
		Mode:             d.Mode,
		Action:           d.Action,
		Period:           seconds(d.PeriodSeconds),
		Timeout:          seconds(d.TimeoutSeconds),
		FailureThreshold: d.FailureThreshold,
		InitialDelay:     seconds(d.InitialDelaySeconds),
		Hang:             seconds(d.HangSeconds),
		Settle:           seconds(d.SettleSeconds),
		AllowUnmanaged:   a.parseAllowUnmanaged(cfg.Limits),
	}
}

// parseAllowUnmanaged reads whether the agent may act on a pod without a controller.
func (a *annotationParser) parseAllowUnmanaged(l Limits) bool {
	if !a.parseBool(AnnotationAllowUnmanaged) {
		return false
	}
	if !l.AllowUnmanaged {
		a.addProblem(rejectValue(AnnotationAllowUnmanaged, "true", "false: the administrator's limits.allowUnmanaged forbids it"))
	}
	return l.AllowUnmanaged
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
