package verdict

import (
	"fmt"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/probes"
)

// Describe says in one line which mount this is and what the looks found. Text that comes from the mount table
// (source, file system) is untrusted: control characters are replaced, what may be a secret is left out, and it is cut to a bearable length.
func (f Failure) Describe() string {
	return fmt.Sprintf("%s: %s, %s since %s", Place(f.Observation), Finding(f.Observation), looks(f.Looks), f.Since.UTC().Format(time.RFC3339))
}

// Place says which mount an observation is of: container, path, volume and, when known, the file system.
func Place(o probes.Observation) string {
	t := o.Target
	place := fmt.Sprintf("container %s, %s (volume %s", t.Container, clean(t.Path), t.Volume)
	if o.FSType != "" {
		place += fmt.Sprintf(", %s from %s", clean(o.FSType), clean(o.Source))
	}
	return place + ")"
}

// Warn says in one line what is wrong around a mount that is Healthy itself, and that the pod stays.
func Warn(o probes.Observation) string {
	said := fmt.Sprintf("%s: %s", Place(o), o.Warning)
	if o.Detail != "" {
		said += fmt.Sprintf(" (%s)", clean(o.Detail))
	}
	return said + "; the mount answers and the pod stays"
}

// Finding says in a few words what a broken look found: the cause and what it was seen by.
func Finding(o probes.Observation) string {
	switch {
	case o.Cause == probes.CauseHung:
		return fmt.Sprintf("%s (no answer to %s)", o.Cause, o.Operation)
	case o.Errno != 0:
		return fmt.Sprintf("%s (%s from %s)", o.Cause, probes.ErrnoName(o.Errno), o.Operation)
	case o.Detail != "":
		return fmt.Sprintf("%s (%s)", o.Cause, clean(o.Detail))
	default:
		return string(o.Cause)
	}
}

func looks(n int) string {
	if n == 1 {
		return "1 look"
	}
	return fmt.Sprintf("%d looks", n)
}

// maxText bounds untrusted text within a description, in bytes.
const maxText = 160

func clean(s string) string {
	s = text.Redact(text.Printable(s))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
