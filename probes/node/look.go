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

// maxRounds bounds a look: the way of a symlink, the mount it leads to, a second reading, and the changes between.
const maxRounds = 3 * maxChanges

// look is one look at all mounts of a pod. It takes rounds: each reads the tables of the containers that have something
// open, plans, and lets the workers do everything at once. One round is the usual case.
type look struct {
	prober  *Prober
	uid     string
	timeout time.Duration
	began   time.Time

	containers []*container
	volumes    []*subject // one for each mount, in their order
	children   []*subject

	host    *view.HostTable
	hostPID *proc.Process // sees the host's mounts
}

func newLook(p *Prober, uid string, timeout time.Duration) *look {
	return &look{prober: p, uid: uid, timeout: timeout, began: time.Now()}
}

func (l *look) add(c *container) {
	l.containers = append(l.containers, c)
	for i := range c.mounts {
		l.volumes = append(l.volumes, newSubject(c, &c.mounts[i], c.mounts[i].Path, l.began))
	}
}

func (l *look) run(ctx context.Context) []probes.Observation {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	l.seeHost()
	for round := range maxRounds {
		if round > 0 {
			l.readAgain()
			l.seeHost()
		}
		l.locate()
		if open := l.touch(ctx); !open {
			break
		}
	}
	l.each(func(s *subject) {
		if !s.done {
			s.unknown(errChanged)
		}
	})
	l.doubt()
	if l.has(probes.Broken) {
		l.seeHost()
		l.relate()
	}
	l.askHost(ctx)
	l.remember()
	return l.observations()
}

// releaseTables gives back the memory of the mount tables.
func (l *look) releaseTables() {
	for _, c := range l.containers {
		c.releaseTable()
	}
}

// isSelf reports whether the look is at what this process sees: the host's mounts do not count then.
func (l *look) isSelf() bool { return len(l.containers) == 1 && l.containers[0].self }

// each calls f with the volumes and the mounts below them.
func (l *look) each(f func(*subject)) {
	for _, s := range l.volumes {
		f(s)
	}
	for _, s := range l.children {
		f(s)
	}
}

// readAgain reads the tables of the containers that have something open.
func (l *look) readAgain() {
	again := map[*container]bool{}
	l.each(func(s *subject) {
		if !s.done && !again[s.c] {
			again[s.c] = true
			s.c.read()
		}
	})
}

// locate finds every mount that is open, and what the host has of it. What a container without a table has is Unknown.
func (l *look) locate() {
	for _, s := range l.volumes {
		switch {
		case s.done:
		case s.c.err != nil:
			s.unknown(s.c.err)
		default:
			s.locate()
		}
	}
	for _, s := range l.volumes {
		l.locateBelow(s)
	}
	l.relate()
}

func (l *look) seeHost() {
	if !l.isSelf() {
		l.host, l.hostPID = l.prober.host.view()
	}
}

// relate asks the host's table about all volumes of the pod together, and about the mounts below them. That of nothing
// proves nothing.
func (l *look) relate() {
	volumes := make([]view.VolumeMount, len(l.volumes))
	for i, s := range l.volumes {
		volumes[i] = view.VolumeMount{Name: s.mount.Volume, Host: s.mount.Host, ContainerMount: s.shows()}
	}
	for i, standing := range l.host.MatchVolumes(l.uid, volumes) {
		l.volumes[i].standing = standing
	}
	for _, s := range l.children {
		s.standing = l.host.MatchBelow(s.volume.standing, s.rest, s.shows())
	}
}

func (s *subject) shows() view.ContainerMount {
	return view.ContainerMount{Table: s.c.table, Mount: s.at, Found: s.found, LastHostPoint: s.c.memory.beforeAt(s.path)}
}

// touch lets the workers do what is to be done next, and reports whether anything is open then.
func (l *look) touch(ctx context.Context) (open bool) {
	var asked []*subject
	var tasks []worker.Task
	l.each(func(s *subject) {
		if s.done {
			return
		}
		if task, ask := s.plan(); ask {
			asked, tasks = append(asked, s), append(tasks, task)
		}
		open = open || !s.done
	})
	for i, r := range l.prober.pool.Look(ctx, tasks, l.timeout) {
		asked[i].take(r, l.timeout, l.prober.traits)
	}
	return open && l.isOpen()
}

func (l *look) isOpen() (open bool) {
	l.each(func(s *subject) { open = open || !s.done })
	return open
}

func (l *look) has(h probes.Health) (has bool) {
	l.each(func(s *subject) { has = has || s.seen.Health == h })
	return has
}

// doubt takes back bad verdicts about a container that has ended meanwhile: its mounts went with it.
func (l *look) doubt() {
	checked := map[*container]error{}
	l.each(func(s *subject) {
		if s.seen.Health != probes.Broken || s.c.process == nil {
			return
		}
		err, known := checked[s.c]
		if !known {
			err = s.c.process.Check()
			checked[s.c] = err
		}
		if err != nil {
			unknown(&s.seen, err)
		}
	})
}

// remember keeps what later looks need to know.
func (l *look) remember() {
	l.each(func(s *subject) {
		if s.standing.Relation == view.RelationSame && s.standing.AtVolume {
			s.c.memory.wasAt(s.path, s.standing.Mount.MountPoint)
		}
		if s.volume != nil && s.found && s.seen.Health == probes.Healthy && view.IsRemote(s.at.FSType) {
			s.c.memory.learn(s.path, s.mount.Volume)
		}
	})
}

func (l *look) observations() []probes.Observation {
	all := make([]probes.Observation, 0, len(l.volumes)+len(l.children))
	l.each(func(s *subject) {
		if !s.silent() && s.tells() {
			all = append(all, cloneTexts(s.seen))
		}
	})
	return all
}

// cloneTexts returns an observation that keeps no part of a mount table: it outlives the look.
func cloneTexts(o probes.Observation) probes.Observation {
	o.FSType, o.Source = strings.Clone(o.FSType), strings.Clone(o.Source)
	return o
}
