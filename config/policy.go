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
	Period           time.Duration      // from one look at a mount to the next
	Timeout          time.Duration      // in which a mount must answer
	FailureThreshold int                // looks in a row that must fail, for causes that are not definitive
	InitialDelay     time.Duration      // from a container's start to the first look at its mounts
	Hang             time.Duration      // without an answer until a mount has failed; never less than Timeout
	Settle           time.Duration      // from failure to act
	AllowUnmanaged   bool               // act although the pod has no controller
	Containers       []probes.Container // what to look at, without the containers' ids
}

// Watches reports whether the policy asks for looks at the target: a watched mount, or one below it.
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
// An annotation that is not understood never leads to a deletion: with an error (ErrInvalid, all problems
// joined, each naming the annotation, its value and what is allowed) the Policy is in ModeReport and holds
// what could be read. A pod that has not opted in has the zero Policy and no error.
//
// It reads the pod's annotations, volumes and containers with their volumeMounts and, of init containers, the
// restartPolicy; a cache must not strip these.
func ParsePolicy(pod *corev1.Pod, cfg Config) (Policy, error) {
	if watch, set := pod.Annotations[AnnotationWatch]; !set || watch == "false" {
		return Policy{}, nil
	}
	a := &annotations{values: pod.Annotations}
	a.truth(AnnotationWatch)
	a.unknown()
	policy := a.policy(cfg)
	policy.Containers = a.containers(pod)
	if len(a.problems) > 0 {
		policy.Mode = ModeReport
	}
	return policy, errors.Join(a.problems...)
}

// policy reads everything but the targets.
func (a *annotations) policy(cfg Config) Policy {
	d := cfg.Defaults
	choice(a, AnnotationMode, &d.Mode, modes())
	choice(a, AnnotationAction, &d.Action, cfg.Limits.AllowedActions)
	for _, n := range d.numbers(cfg.Limits) {
		a.number(n)
	}
	if a.note(d.hang(AnnotationHangSeconds)) {
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
		AllowUnmanaged:   a.unmanaged(cfg.Limits),
	}
}

func (a *annotations) unmanaged(l Limits) bool {
	if !a.truth(AnnotationAllowUnmanaged) {
		return false
	}
	if !l.AllowUnmanaged {
		a.note(invalid(AnnotationAllowUnmanaged, "true", "false: the administrator's limits.allowUnmanaged forbids it"))
	}
	return l.AllowUnmanaged
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
