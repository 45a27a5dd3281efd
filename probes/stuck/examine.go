package stuck

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/view"
)

// maxExamined is how many processes of a pod are examined.
const maxExamined = 64

// Examiner reads about the processes and mounts of pods under a /proc of the host. It is safe for
// concurrent use.
type Examiner struct{ root string }

// New returns an Examiner for the /proc at root, in which process 1 is the host's.
func New(root string) *Examiner { return &Examiner{root: root} }

// Why returns why the pod does not end, and the FUSE file systems whose servers its processes wait
// for.
func (e *Examiner) Why(ctx context.Context, podUID string) probes.Stuck {
	r := e.Examine(ctx, podUID)
	return probes.Stuck{Known: r.Known(), Text: r.String(), FUSE: r.fuseDevices()}
}

// Examine returns what it finds of the pod. What cannot be read, or not before ctx ends, is in
// Report.Unseen.
func (e *Examiner) Examine(ctx context.Context, podUID string) Report {
	var r Report
	pids, err := proc.OfPod(e.root, podUID)
	if err != nil {
		r.Unseen = append(r.Unseen, err)
	}
	e.examineProcesses(ctx, pids, &r)
	left, err := e.hostMounts(func(m *mountinfo.Mount) bool { return podOfPath(m.MountPoint) == podUID })
	if err != nil {
		r.Unseen = append(r.Unseen, err)
		return r
	}
	for _, m := range left {
		r.Left = append(r.Left, e.newLeftMount(m))
	}
	slices.SortStableFunc(r.Left, func(a, b LeftMount) int { return b.relevance() - a.relevance() })
	return r
}

// examineProcesses adds to the report what each process does, and for the most relevant ones,
// where.
func (e *Examiner) examineProcesses(ctx context.Context, pids []int, r *Report) {
	var all []Process
	for _, pid := range pids[:min(len(pids), maxExamined)] {
		if err := ctx.Err(); err != nil {
			r.Unseen = append(r.Unseen, fmt.Errorf("look at process %d: %w", pid, err))
			break
		}
		p, ok, err := e.examineProcess(pid)
		if err != nil {
			r.Unseen = append(r.Unseen, err)
		}
		if ok {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b Process) int { return b.relevance() - a.relevance() })
	r.Processes = all[:min(len(all), maxProcesses)]
	r.More = max(len(all)-maxProcesses, 0) + max(len(pids)-maxExamined, 0)
	for i := range r.Processes {
		if err := e.addSuspectMounts(ctx, &r.Processes[i]); err != nil {
			r.Unseen = append(r.Unseen, err)
		}
	}
}

// addSuspectMounts adds the mounts that the process may wait for.
func (e *Examiner) addSuspectMounts(ctx context.Context, p *Process) (err error) {
	if !p.isWaiting() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mounts of process %d: %w", p.PID, err)
	}
	p.Mounts, err = e.findSuspectMounts(*p)
	return err
}

// examineProcess returns what the most relevant thread of a process does. It is not ok when the
// process has ended meanwhile, or is the kernel's own.
func (e *Examiner) examineProcess(pid int) (p Process, ok bool, err error) {
	tasks, err := proc.Tasks(e.root, pid)
	if errors.Is(err, proc.ErrGone) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	for _, t := range tasks {
		q := Process{PID: pid, Comm: t.Comm, State: t.State, Execs: t.Execs, Ending: t.Ending, Wchan: t.Wchan}
		if s, is := findServer(t.Wchan); is {
			q.Server = s.name
		}
		if !t.Kernel && (!ok || q.relevance() > p.relevance()) {
			p, ok = q, true
		}
	}
	return p, ok, nil
}

// isWaiting reports whether it matters which mount the process waits for.
func (p Process) isWaiting() bool { return p.Server != "" || p.State == 'D' }

// relevance orders processes, or the threads of one, by how much they explain.
func (p Process) relevance() int {
	weight := 1
	switch p.State {
	case 'Z', 'X', 'x':
		return 0
	case 'D':
		weight += 2
	}
	if p.Server != "" {
		weight++
	}
	return weight
}

// findSuspectMounts returns the mounts that the process may wait for: those of the file systems
// that its kernel function belongs to. Of several FUSE it is one whose server owes answers. In
// another function, such as one that waits for a lock, it may be any FUSE that owes answers, and
// where pages are waited for, any mount of a network file system.
func (e *Examiner) findSuspectMounts(p Process) ([]mountinfo.Mount, error) {
	s, known := findServer(p.Wchan)
	pages := isPageWait(p.Wchan) || p.Wchan == "" // Linux 5.10 shows none for most threads
	seen := map[mountinfo.Device]bool{}
	found, _, err := e.findMounts(p.PID, func(m *mountinfo.Mount) bool {
		mayServe := view.IsFUSE(m.FSType) || pages && view.IsRemote(m.FSType)
		if known {
			mayServe = s.serves(m.FSType)
		}
		if seen[m.Device] || !mayServe {
			return false
		}
		seen[m.Device] = true
		return true
	})
	if errors.Is(err, proc.ErrGone) {
		return nil, nil
	}
	var served, owing []mountinfo.Mount
	for _, m := range found {
		if known || !view.IsFUSE(m.FSType) {
			served = append(served, m)
		}
		if n, ok := e.countWaiting(m.Device); ok && n > 0 && view.IsFUSE(m.FSType) {
			owing = append(owing, m)
		}
	}
	if len(owing) > 0 {
		return owing, err
	}
	return served, err
}

// relevance orders mounts by how much they explain: the tmpfs of a Secret is left wherever
// anything is.
func (l LeftMount) relevance() int {
	switch {
	case l.Waiting > 0:
		return 2
	case view.IsRemote(l.Mount.FSType):
		return 1
	default:
		return 0
	}
}

// newLeftMount describes a mount of a volume that is still there.
func (e *Examiner) newLeftMount(m mountinfo.Mount) LeftMount {
	l := LeftMount{Volume: volumeOfPath(m.MountPoint), Mount: m}
	if n, ok := e.countWaiting(m.Device); ok && view.IsFUSE(m.FSType) {
		l.Waiting = n
	}
	return l
}

// fuseDevices returns the devices of the FUSE file systems that keep the pod: a process waits for
// it for certain, or a volume on it is left and its server owes answers.
func (r Report) fuseDevices() []string {
	var devices []string
	add := func(m mountinfo.Mount) {
		if d := m.Device.String(); view.IsFUSE(m.FSType) && !slices.Contains(devices, d) && len(devices) < maxMounts {
			devices = append(devices, d)
		}
	}
	for _, p := range r.Processes {
		if len(p.Mounts) == 1 {
			add(p.Mounts[0])
		}
	}
	for _, l := range r.Left {
		if l.Waiting > 0 {
			add(l.Mount)
		}
	}
	return devices
}
