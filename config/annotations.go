package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// AnnotationPrefix starts every annotation that Mountwarden reads. No other may stand under it.
const AnnotationPrefix = "mountwarden.io/"

// AnnotationPaused is an annotation of a Namespace or a Node. While it is set, none of its pods is
// evicted. Its value is the reason, for people. A pod must not have it.
const AnnotationPaused = AnnotationPrefix + "paused"

// The annotations of a pod. Numbers have the meaning of the kubelet's probes.
const (
	AnnotationWatch               = AnnotationPrefix + "watch"                 // "true" opts in
	AnnotationVolumes             = AnnotationPrefix + "volumes"               // names of the pod's volumes, separated by commas
	AnnotationContainers          = AnnotationPrefix + "containers"            // names of the pod's containers, separated by commas
	AnnotationMode                = AnnotationPrefix + "mode"                  // a Mode
	AnnotationAction              = AnnotationPrefix + "action"                // an Action
	AnnotationPeriodSeconds       = AnnotationPrefix + "period-seconds"        // from one probe to the next
	AnnotationTimeoutSeconds      = AnnotationPrefix + "timeout-seconds"       // in which a mount must answer
	AnnotationFailureThreshold    = AnnotationPrefix + "failure-threshold"     // consecutive failed probes
	AnnotationInitialDelaySeconds = AnnotationPrefix + "initial-delay-seconds" // from a container's start to the first probe
	AnnotationHangSeconds         = AnnotationPrefix + "hang-seconds"          // without an answer until a mount has failed
	AnnotationSettleSeconds       = AnnotationPrefix + "settle-seconds"        // from failure to eviction
	AnnotationCanaryFile          = AnnotationPrefix + "canary-file"           // relative path of a file to read in each volume
	AnnotationCanaryDirectory     = AnnotationPrefix + "canary-directory"      // the same of a directory to list
	AnnotationExpectMounts        = AnnotationPrefix + "expect-mounts"         // mounts that must be below a volume: VOLUME/PATH[=FSTYPE],...
	AnnotationAllowUnmanaged      = AnnotationPrefix + "allow-unmanaged"       // "true" permits to act on a pod with no controller
)

// Annotations lists every annotation of a pod that this version knows.
func Annotations() []string {
	return []string{
		AnnotationWatch, AnnotationVolumes, AnnotationContainers, AnnotationMode, AnnotationAction,
		AnnotationPeriodSeconds, AnnotationTimeoutSeconds, AnnotationFailureThreshold, AnnotationInitialDelaySeconds,
		AnnotationHangSeconds, AnnotationSettleSeconds, AnnotationCanaryFile, AnnotationCanaryDirectory, AnnotationExpectMounts,
		AnnotationAllowUnmanaged,
	}
}

// annotationParser reads the values of one pod's annotations and collects every problem. It keeps
// the default of a value that is invalid.
type annotationParser struct {
	values   map[string]string
	problems []error
}

// addProblem keeps a problem and reports whether there was one.
func (a *annotationParser) addProblem(err error) bool {
	if err != nil {
		a.problems = append(a.problems, err)
	}
	return err != nil
}

// rejectUnknown rejects every annotation with our prefix that this version does not know, in a
// stable order.
func (a *annotationParser) rejectUnknown() {
	for _, key := range slices.Sorted(maps.Keys(a.values)) {
		switch {
		case !strings.HasPrefix(key, AnnotationPrefix), slices.Contains(Annotations(), key):
		case key == AnnotationPaused:
			a.addProblem(rejectValue("annotation", key, "it on a Namespace or a Node only, with the reason as its value; on a pod set "+
				AnnotationMode+" to "+string(ModeReport)))
		default:
			a.addProblem(rejectValue("annotation", key, "one of "+joinValues(Annotations())))
		}
	}
}

// parseNumber reads a whole number within its bounds. It must be written in the one usual way: no
// sign, blank or leading zero.
func (a *annotationParser) parseNumber(n boundedInt) {
	text, set := a.values[n.annotation]
	if !set {
		return
	}
	value, err := strconv.Atoi(text)
	if err != nil || strconv.Itoa(value) != text || value < n.low || value > n.high {
		a.addProblem(rejectNumber(n.annotation, text, n.low, n.high))
		return
	}
	*n.value = value
}

// parseBool reads "true" or "false".
func (a *annotationParser) parseBool(key string) bool {
	text, set := a.values[key]
	return set && !a.addProblem(checkChoice(key, text, []string{"true", "false"})) && text == "true"
}

// parseChoice reads one of a list of words.
func parseChoice[T ~string](a *annotationParser, key string, into *T, allowed []T) {
	if text, set := a.values[key]; set && !a.addProblem(checkChoice(key, T(text), allowed)) {
		*into = T(text)
	}
}

// parseNames reads a list of names, each of which must be known. Without the annotation it returns
// the usual ones.
func (a *annotationParser) parseNames(key string, usual, known []string) []string {
	text, set := a.values[key]
	if !set {
		return usual
	}
	var chosen []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !a.addProblem(checkChoice(key, name, known)) {
			chosen = append(chosen, name)
		}
	}
	return chosen
}
