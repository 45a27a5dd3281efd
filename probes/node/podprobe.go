package node

import (
	"context"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/view"
	"github.com/mountwarden/mountwarden/probes/worker"
)

// maxRounds bounds the rounds of a probe. Each attempt at a mount may need three: one to resolve a
// symlink, one to probe the mount that it leads to, and one to read the table a second time.
const maxRounds = 3 * maxReplacements

// podProbe is one probe of all mounts of a pod. It takes rounds. Each round reads the tables of the
// containers that have unfinished targets, plans a task for each such target, and has the workers
// do all tasks at once. Usually one round is enough.
type podProbe struct {
	prober  *Prober
	uid     string
	timeout time.Duration
	began   time.Time

	containers []*container
	volumes    []*probeTarget // one for each mount, in their order
	submounts  []*probeTarget // mounts below volumes

	hostTable   *view.HostTable
	hostProcess *proc.Process // its mount namespace is the host's
}

func newPodProbe(p *Prober, uid string, timeout time.Duration) *podProbe {
	return &podProbe{prober: p, uid: uid, timeout: timeout, began: time.Now()}
}

func (p *podProbe) addContainer(c *container) {
	p.containers = append(p.containers, c)
	for i := range c.mounts {
		p.volumes = append(p.volumes, newProbeTarget(c, &c.mounts[i], c.mounts[i].Path, p.began))
	}
}

// run probes all targets and returns an observation for each that is reported.
func (p *podProbe) run(ctx context.Context) []probes.Observation {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	p.refreshHost()
	for round := range maxRounds {
		if round > 0 {
			p.rereadTables()
			p.refreshHost()
		}
		p.locateTargets()
		if open := p.runTasks(ctx); !open {
			break
		}
	}
	p.forEachTarget(func(t *probeTarget) {
		if !t.done {
			t.markUnknown(errChanged)
		}
	})
	p.recheckProcesses()
	if p.hasHealth(probes.Broken) {
		p.refreshHost()
		p.matchHost()
	}
	p.probeHostMounts(ctx)
	p.rememberResults()
	return p.collectObservations()
}

// releaseTables gives back the memory of the mount tables.
func (p *podProbe) releaseTables() {
	for _, c := range p.containers {
		c.releaseTable()
	}
}

// isSelf reports whether this is a probe of the mounts of this process, for which the host's mounts
// do not count.
func (p *podProbe) isSelf() bool { return len(p.containers) == 1 && p.containers[0].self }

// forEachTarget calls f with the volumes, and then with the mounts below them.
func (p *podProbe) forEachTarget(f func(*probeTarget)) {
	for _, t := range p.volumes {
		f(t)
	}
	for _, t := range p.submounts {
		f(t)
	}
}

// rereadTables reads the tables of the containers that have unfinished targets.
func (p *podProbe) rereadTables() {
	again := map[*container]bool{}
	p.forEachTarget(func(t *probeTarget) {
		if !t.done && !again[t.container] {
			again[t.container] = true
			t.container.readTable()
		}
	})
}

// locateTargets finds the mount of every unfinished target, and the host's mount of it. Targets in
// a container without a table are Unknown.
func (p *podProbe) locateTargets() {
	for _, t := range p.volumes {
		switch {
		case t.done:
		case t.container.err != nil:
			t.markUnknown(t.container.err)
		default:
			t.locateMount()
		}
	}
	for _, t := range p.volumes {
		p.locateSubmounts(t)
	}
	p.matchHost()
}

func (p *podProbe) refreshHost() {
	if !p.isSelf() {
		p.hostTable, p.hostProcess = p.prober.hostTables.currentTable()
	}
}

// matchHost finds the host's mounts of all volumes of the pod, together, and of the mounts below
// them. Without a host table nothing is matched.
func (p *podProbe) matchHost() {
	volumes := make([]view.VolumeMount, len(p.volumes))
	for i, t := range p.volumes {
		volumes[i] = view.VolumeMount{Name: t.mount.Volume, Host: t.mount.Host, ContainerMount: t.toContainerMount()}
	}
	for i, match := range p.hostTable.MatchVolumes(p.uid, volumes) {
		p.volumes[i].hostMatch = match
	}
	for _, t := range p.submounts {
		t.hostMatch = p.hostTable.MatchBelow(t.volume.hostMatch, t.relPath, t.toContainerMount())
	}
}

func (t *probeTarget) toContainerMount() view.ContainerMount {
	return view.ContainerMount{
		Table: t.container.table, Mount: t.tableMount, Found: t.found, LastHostPoint: t.container.state.findHostPoint(t.path),
	}
}

// runTasks has the workers do the next task of every target, and reports whether any target is
// unfinished then.
func (p *podProbe) runTasks(ctx context.Context) (open bool) {
	var asked []*probeTarget
	var tasks []worker.Task
	p.forEachTarget(func(t *probeTarget) {
		if t.done {
			return
		}
		if task, ask := t.planTask(); ask {
			asked, tasks = append(asked, t), append(tasks, task)
		}
		open = open || !t.done
	})
	for i, r := range p.prober.pool.Look(ctx, tasks, p.timeout) {
		asked[i].applyResult(r, p.timeout, p.prober.collectFacts)
	}
	return open && p.hasOpenTargets()
}

func (p *podProbe) hasOpenTargets() (open bool) {
	p.forEachTarget(func(t *probeTarget) { open = open || !t.done })
	return open
}

func (p *podProbe) hasHealth(h probes.Health) (has bool) {
	p.forEachTarget(func(t *probeTarget) { has = has || t.observation.Health == h })
	return has
}

// recheckProcesses makes broken targets Unknown if their container has ended meanwhile: its mounts
// went with it.
func (p *podProbe) recheckProcesses() {
	checked := map[*container]error{}
	p.forEachTarget(func(t *probeTarget) {
		if t.observation.Health != probes.Broken || t.container.process == nil {
			return
		}
		err, known := checked[t.container]
		if !known {
			err = t.container.process.Check()
			checked[t.container] = err
		}
		if err != nil {
			setUnknown(&t.observation, err)
		}
	})
}

// rememberResults keeps what later probes of the container need.
func (p *podProbe) rememberResults() {
	p.forEachTarget(func(t *probeTarget) {
		if t.hostMatch.Relation == view.RelationSame && t.hostMatch.AtVolume {
			t.container.state.setHostPoint(t.path, t.hostMatch.Mount.MountPoint)
		}
		if t.volume != nil && t.found && t.observation.Health == probes.Healthy && view.IsRemote(t.tableMount.FSType) {
			t.container.state.learnSubmount(t.path, t.mount.Volume)
		}
	})
}

func (p *podProbe) collectObservations() []probes.Observation {
	all := make([]probes.Observation, 0, len(p.volumes)+len(p.submounts))
	p.forEachTarget(func(t *probeTarget) {
		if !t.isBelowOnly() && t.isReported() {
			all = append(all, cloneTexts(t.observation))
		}
	})
	return all
}

// cloneTexts returns an observation that keeps no part of a mount table, because it outlives the
// probe.
func cloneTexts(o probes.Observation) probes.Observation {
	o.FSType, o.Source = strings.Clone(o.FSType), strings.Clone(o.Source)
	return o
}
