package verdict

import (
	"fmt"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/probes"
)

// Describe says in one line which mount this is and what the probes found. Text from the mount
// table (source, file system) is untrusted: control characters are replaced, what may be a secret
// is left out, and long text is cut.
func (f Failure) Describe() string {
	return fmt.Sprintf("%s: %s, %s since %s", DescribeMount(f.Observation), Finding(f.Observation), formatProbeCount(f.Looks), f.Since.UTC().Format(time.RFC3339))
}

// DescribeMount says which mount an observation is of: container, path, volume and, when known, the
// file system.
func DescribeMount(o probes.Observation) string {
	t := o.Target
	said := fmt.Sprintf("container %s, %s (volume %s", t.Container, sanitizeText(t.Path), t.Volume)
	if o.FSType != "" {
		said += fmt.Sprintf(", %s from %s", sanitizeText(o.FSType), sanitizeText(o.Source))
	}
	return said + ")"
}

// DescribeWarning says in one line what is wrong around a mount that is Healthy itself, and that
// the pod stays.
func DescribeWarning(o probes.Observation) string {
	said := fmt.Sprintf("%s: %s", DescribeMount(o), o.Warning)
	if o.Detail != "" {
		said += fmt.Sprintf(" (%s)", sanitizeText(o.Detail))
	}
	return said + "; the mount answers and the pod stays"
}

// Finding says in a few words what was found broken: the cause and how it showed.
func Finding(o probes.Observation) string {
	switch {
	case o.Cause == probes.CauseHung:
		return fmt.Sprintf("%s (no answer to %s)", o.Cause, o.Operation)
	case o.Errno != 0:
		return fmt.Sprintf("%s (%s from %s)", o.Cause, probes.ErrnoName(o.Errno), o.Operation)
	case o.Detail != "":
		return fmt.Sprintf("%s (%s)", o.Cause, sanitizeText(o.Detail))
	default:
		return string(o.Cause)
	}
}

func formatProbeCount(n int) string {
	if n == 1 {
		return "1 look"
	}
	return fmt.Sprintf("%d looks", n)
}

// maxUntrustedText bounds each untrusted text within a description, in bytes.
const maxUntrustedText = 160

func sanitizeText(s string) string {
	s = text.Redact(text.Printable(s))
	if len(s) > maxUntrustedText {
		s = strings.ToValidUTF8(s[:maxUntrustedText], "") + "…"
	}
	return s
}
