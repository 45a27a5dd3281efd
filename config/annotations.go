package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// AnnotationPrefix starts every annotation that Mountwarden reads. No other may stand under it.
const AnnotationPrefix = "mountwarden.io/"

// AnnotationPaused is an annotation of a Namespace or a Node: none of its pods is removed as long as it is there. Its value is the
// reason, for people. A pod must not have it.
const AnnotationPaused = AnnotationPrefix + "paused"

// The annotations of a pod. Numbers have the meaning of the kubelet's probes.
const (
	AnnotationWatch               = AnnotationPrefix + "watch"                 // "true" opts in
	AnnotationVolumes             = AnnotationPrefix + "volumes"               // names of the pod's volumes, separated by commas
	AnnotationContainers          = AnnotationPrefix + "containers"            // names of the pod's containers, separated by commas
	AnnotationMode                = AnnotationPrefix + "mode"                  // a Mode
	AnnotationAction              = AnnotationPrefix + "action"                // an Action
	AnnotationPeriodSeconds       = AnnotationPrefix + "period-seconds"        // from one look to the next
	AnnotationTimeoutSeconds      = AnnotationPrefix + "timeout-seconds"       // in which a mount must answer
	AnnotationFailureThreshold    = AnnotationPrefix + "failure-threshold"     // failed looks in a row
	AnnotationInitialDelaySeconds = AnnotationPrefix + "initial-delay-seconds" // from a container's start to the first look
	AnnotationHangSeconds         = AnnotationPrefix + "hang-seconds"          // without an answer until a mount has failed
	AnnotationSettleSeconds       = AnnotationPrefix + "settle-seconds"        // from failure to act
	AnnotationCanaryFile          = AnnotationPrefix + "canary-file"           // relative path of a file that is read in each watched volume
	AnnotationCanaryDirectory     = AnnotationPrefix + "canary-directory"      // relative path of a folder that is listed in each watched volume
	AnnotationExpectMounts        = AnnotationPrefix + "expect-mounts"         // VOLUME/PATH[=FSTYPE], separated by commas: mounts that must be below a volume
	AnnotationAllowUnmanaged      = AnnotationPrefix + "allow-unmanaged"       // "true" permits to act on a pod with no controller
)

// Annotations lists every annotation of a pod that this version understands.
func Annotations() []string {
	return []string{
		AnnotationWatch, AnnotationVolumes, AnnotationContainers, AnnotationMode, AnnotationAction,
		AnnotationPeriodSeconds, AnnotationTimeoutSeconds, AnnotationFailureThreshold, AnnotationInitialDelaySeconds,
		AnnotationHangSeconds, AnnotationSettleSeconds, AnnotationCanaryFile, AnnotationCanaryDirectory, AnnotationExpectMounts,
		AnnotationAllowUnmanaged,
	}
}

// annotations reads the values of one pod's annotations and collects every problem. A value with a problem is
// left as it was before.
type annotations struct {
	values   map[string]string
	problems []error
}

// note keeps a problem and reports whether there was one.
func (a *annotations) note(err error) bool {
	if err != nil {
		a.problems = append(a.problems, err)
	}
	return err != nil
}

// unknown refuses every annotation that is ours and not understood, in a stable order.
func (a *annotations) unknown() {
	for _, key := range slices.Sorted(maps.Keys(a.values)) {
		switch {
		case !strings.HasPrefix(key, AnnotationPrefix), slices.Contains(Annotations(), key):
		case key == AnnotationPaused:
			a.note(invalid("annotation", key, "it on a Namespace or a Node only, with the reason as its value; on a pod set "+
				AnnotationMode+" to "+string(ModeReport)))
		default:
			a.note(invalid("annotation", key, "one of "+join(Annotations())))
		}
	}
}

// number reads a whole number within its bounds, written in the one usual way: no sign, blank or leading zero.
func (a *annotations) number(n number) {
	text, set := a.values[n.annotation]
	if !set {
		return
	}
	value, err := strconv.Atoi(text)
	if err != nil || strconv.Itoa(value) != text || value < n.low || value > n.high {
		a.note(outside(n.annotation, text, n.low, n.high))
		return
	}
	*n.value = value
}

// truth reads "true" or "false".
func (a *annotations) truth(key string) bool {
	text, set := a.values[key]
	return set && !a.note(among(key, text, []string{"true", "false"})) && text == "true"
}

// choice reads one of a list of words.
func choice[T ~string](a *annotations, key string, into *T, allowed []T) {
	if text, set := a.values[key]; set && !a.note(among(key, T(text), allowed)) {
		*into = T(text)
	}
}

// names reads a list of names, each of which must be known; without the annotation it is the usual ones.
func (a *annotations) names(key string, usual, known []string) []string {
	text, set := a.values[key]
	if !set {
		return usual
	}
	var chosen []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !a.note(among(key, name, known)) {
			chosen = append(chosen, name)
		}
	}
	return chosen
}
