package stuck

import (
	"fmt"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// How much is told. A pod may have thousands of processes.
const (
	maxProcesses = 3
	maxMounts    = 3
	maxName      = 200 // of a mount point, in bytes; a tenant chooses it, and one of the kubelet has 140
)

// Report is what was found of a pod that does not end.
type Report struct {
	Processes []Process   // those that tell the most first, at most three
	More      int         // further processes
	Left      []LeftMount // the host's mounts of the pod's volumes
	Unseen    []error     // what could not be looked at
}

// Process is a process of the pod that has not ended.
type Process struct {
	PID    int
	Comm   string
	State  byte              // of the thread that tells the most, as in proc_pid_status(5)
	Ending bool              // it was killed and waits for other processes, as the first of a pid namespace does (pid_namespaces(7))
	Execs  bool              // it starts a program, and closes the files of the one before
	Wchan  string            // the kernel's function that it waits in; "" when not told
	Server string            // who does not answer: "fuse", "nfs" and so on; "" when that is not known
	Mounts []mountinfo.Mount // where that may be, as the process sees it; of each its device, mount point and type
}

// LeftMount is a mount of a volume that is still there.
type LeftMount struct {
	Volume  string
	Mount   mountinfo.Mount // device, mount point and type
	Waiting int             // requests to its FUSE server without an answer
}

// Known reports whether the report explains anything: something was found, or everything was looked at.
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
		parts = append(parts, "no process is left, but "+r.left())
	default:
		parts = append(parts, "no process and no mount of it is left on the node: the kubelet or the container runtime may be down")
	}
	for _, err := range r.Unseen {
		parts = append(parts, err.Error())
	}
	return strings.Join(parts, "; ")
}

func (r Report) left() string {
	var parts []string
	for _, l := range r.Left[:min(len(r.Left), maxMounts)] {
		text := fmt.Sprintf("the volume %s is still mounted at %s (%s, %s)", short(l.Volume), short(l.Mount.MountPoint), short(l.Mount.FSType), l.Mount.Device)
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
	name := fmt.Sprintf("process %d (%s)", p.PID, short(p.Comm))
	switch {
	case p.State == 'Z' || p.State == 'X' || p.State == 'x':
		return name + " has exited, and its parent does not take note: the container runtime may be down"
	case p.Server != "":
		return fmt.Sprintf("%s waits in %s (%s)%s", name, p.Server, short(p.Wchan), p.on())
	case p.State == 'D' && p.Execs:
		return fmt.Sprintf("%s starts a program, waits for a file to be closed and cannot be killed%s", name, p.on())
	case p.State == 'D' && waitsForPages(p.Wchan) && len(p.Mounts) > 0:
		return fmt.Sprintf("%s has written what has not reached its server, and cannot be killed until it does (%s)%s", name, short(p.Wchan), p.on())
	case p.State == 'D':
		return fmt.Sprintf("%s waits in the kernel and cannot be killed (%s)%s", name, orUnknown(short(p.Wchan)), p.on())
	case p.Ending:
		return name + " was killed and waits for the other processes of its container"
	default:
		return fmt.Sprintf("%s is alive (state %c): nobody has killed it", name, printable(p.State))
	}
}

// on says where: " on 0:57 /data".
func (p Process) on() string {
	if len(p.Mounts) == 0 {
		return ""
	}
	var places []string
	for _, m := range p.Mounts[:min(len(p.Mounts), maxMounts)] {
		places = append(places, m.Device.String()+" "+short(m.MountPoint))
	}
	if more := len(p.Mounts) - maxMounts; more > 0 {
		places = append(places, fmt.Sprintf("%d more", more))
	}
	if len(places) == 1 {
		return " on " + places[0]
	}
	return " on one of " + strings.Join(places, ", ")
}

func orUnknown(wchan string) string {
	if wchan == "" {
		return "where is not told"
	}
	return wchan
}

func printable(c byte) byte {
	if c < '!' || c > '~' {
		return '?'
	}
	return c
}

// short cuts a name that somebody else has chosen.
func short(name string) string {
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
