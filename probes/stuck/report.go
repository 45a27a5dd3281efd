package stuck

import (
	"fmt"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// How much a report holds. A pod may have thousands of processes.
const (
	maxProcesses = 3
	maxMounts    = 3
	maxName      = 200 // of a mount point, in bytes; a tenant chooses it, and one of the kubelet has 140
)

// Report is what was found of a pod that does not end.
type Report struct {
	Processes []Process   // the most relevant first, at most three
	More      int         // further processes
	Left      []LeftMount // the host's mounts of the pod's volumes
	Unseen    []error     // what could not be read
}

// Process is a process of the pod that has not ended.
type Process struct {
	PID    int
	Comm   string
	State  byte              // of its most relevant thread, as in proc_pid_status(5)
	Ending bool              // killed, it waits for other processes, like the first of a pid_namespaces(7)
	Execs  bool              // it starts a program, and closes the files of the one before
	Wchan  string            // the kernel's function that it waits in; "" when not known
	Server string            // what does not answer: "fuse", "nfs" and so on; "" when not known
	Mounts []mountinfo.Mount // where that may be, as the process sees it: device, mount point and type
}

// LeftMount is a mount of a volume that is still there.
type LeftMount struct {
	Volume  string
	Mount   mountinfo.Mount // device, mount point and type
	Waiting int             // requests to its FUSE server without an answer
}

// Known reports whether the report explains anything: something was found, or everything was read.
func (r Report) Known() bool { return len(r.Processes) > 0 || len(r.Unseen) == 0 }

// String returns one line for people. Its names are untrusted.
func (r Report) String() string {
	var parts []string
	for _, p := range r.Processes {
		parts = append(parts, p.String())
	}
	switch {
	case len(parts) > 0 && r.More > 0:
		parts = append(parts, fmt.Sprintf("and %d more processes", r.More))
	case len(parts) > 0:
	case len(r.Unseen) > 0:
		parts = append(parts, "could not look")
	case len(r.Left) > 0:
		parts = append(parts, "no process is left, but "+r.describeLeft())
	default:
		parts = append(parts, "no process and no mount of it is left on the node: the kubelet or the container runtime may be down")
	}
	for _, err := range r.Unseen {
		parts = append(parts, err.Error())
	}
	return strings.Join(parts, "; ")
}

// describeLeft says which mounts are left.
func (r Report) describeLeft() string {
	var parts []string
	for _, l := range r.Left[:min(len(r.Left), maxMounts)] {
		text := fmt.Sprintf("the volume %s is still mounted at %s (%s, %s)", truncateName(l.Volume), truncateName(l.Mount.MountPoint), truncateName(l.Mount.FSType), l.Mount.Device)
		if l.Waiting > 0 {
			text += fmt.Sprintf(", where %d requests have no answer", l.Waiting)
		}
		parts = append(parts, text)
	}
	if more := len(r.Left) - maxMounts; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ") + ": unmounting it fails or waits, or its driver is gone"
}

// String says what one process does.
func (p Process) String() string {
	name := fmt.Sprintf("process %d (%s)", p.PID, truncateName(p.Comm))
	switch {
	case p.State == 'Z' || p.State == 'X' || p.State == 'x':
		return name + " has exited, and its parent does not take note: the container runtime may be down"
	case p.Server != "":
		return fmt.Sprintf("%s waits in %s (%s)%s", name, p.Server, truncateName(p.Wchan), p.describeMounts())
	case p.State == 'D' && p.Execs:
		return fmt.Sprintf("%s starts a program, waits for a file to be closed and cannot be killed%s", name, p.describeMounts())
	case p.State == 'D' && isPageWait(p.Wchan) && len(p.Mounts) > 0:
		return fmt.Sprintf("%s has written what has not reached its server, and cannot be killed until it does (%s)%s", name, truncateName(p.Wchan), p.describeMounts())
	case p.State == 'D':
		return fmt.Sprintf("%s waits in the kernel and cannot be killed (%s)%s", name, orUnknown(truncateName(p.Wchan)), p.describeMounts())
	case p.Ending:
		return name + " was killed and waits for the other processes of its container"
	default:
		return fmt.Sprintf("%s is alive (state %c): nobody has killed it", name, printableByte(p.State))
	}
}

// describeMounts says where a process waits: " on 0:57 /data".
func (p Process) describeMounts() string {
	if len(p.Mounts) == 0 {
		return ""
	}
	var mounts []string
	for _, m := range p.Mounts[:min(len(p.Mounts), maxMounts)] {
		mounts = append(mounts, m.Device.String()+" "+truncateName(m.MountPoint))
	}
	if more := len(p.Mounts) - maxMounts; more > 0 {
		mounts = append(mounts, fmt.Sprintf("%d more", more))
	}
	if len(mounts) == 1 {
		return " on " + mounts[0]
	}
	return " on one of " + strings.Join(mounts, ", ")
}

func orUnknown(wchan string) string {
	if wchan == "" {
		return "where is not told"
	}
	return wchan
}

// printableByte replaces a byte that is not printable.
func printableByte(c byte) byte {
	if c < '!' || c > '~' {
		return '?'
	}
	return c
}

// truncateName cuts a name that somebody else has chosen, and replaces what a terminal may
// interpret.
func truncateName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if len(name) <= maxName {
		return name
	}
	return strings.ToValidUTF8(name[:maxName], "") + "…"
}
