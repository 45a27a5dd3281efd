package status_test

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// now is the moment of every snapshot.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

var rules = verdict.Rules{FailureThreshold: 3, Hang: 40 * time.Second, Period: 10 * time.Second}

// hostile is what a tenant may call a mount: a colour, another line, a turned direction, a tag,
// half a character.
const hostile = "/data/\x1b[31m\n\u202e\u009b2J<script>alert(1)</script>\xff"

// probed is a mount after probes with these causes, the last of them two seconds ago and the others
// a period apart.
func probed(target probes.Target, found ...probes.Cause) (m verdict.Mount) {
	state := verdict.State{}
	for i, cause := range found {
		end := ago(2*time.Second + time.Duration(len(found)-1-i)*10*time.Second)
		o := probes.Observation{
			Target: target, Health: probes.Healthy, FSType: "fuse.sshfs", Source: "files:/export", Operation: probes.OpStatfs,
			Started: end.Add(-1300 * time.Microsecond), Finished: end,
		}
		switch cause {
		case probes.CauseNone:
		case unknown:
			o = probes.Observation{Target: target, Detail: "the container does not run", Started: end, Finished: end}
		default:
			o.Health, o.Cause = probes.Broken, cause
		}
		if cause == probes.CauseHung {
			o.Started = ago(22 * time.Second)
		}
		state, _ = verdict.Step(state, []probes.Observation{o}, rules, end)
	}
	return state[target]
}

// unknown stands for a probe without a result.
const unknown probes.Cause = "unknown"

func watchedMount(path string, found ...probes.Cause) controllers.WatchedMount {
	target := probes.Target{Container: "app", Volume: "data", Path: path}
	m := probed(target, found...)
	return controllers.WatchedMount{
		Target: target, Mount: m, Backend: probes.Backend{Kind: probes.BackendCSI, Name: "csi.example.com"}, Since: ago(time.Hour),
		History: []controllers.Transition{{At: ago(3 * time.Hour), State: "Healthy"}, {At: ago(time.Hour), State: m.Shown(), Cause: m.Observation.Cause}},
	}
}

func watched(namespace, name string, mounts ...controllers.WatchedMount) controllers.Watched {
	return controllers.Watched{
		Namespace: namespace, Pod: name, PodUID: types.UID(namespace + "/" + name), Owner: "ReplicaSet/" + name, Mode: config.ModeRemediate,
		Action: config.ActionEvict, Rules: rules, Looked: ago(2 * time.Second), NextLook: now.Add(8 * time.Second), Mounts: mounts,
	}
}

// pods is one of everything.
func pods() []controllers.Watched {
	disconnected := slices.Repeat([]probes.Cause{probes.CauseDisconnected}, 2)
	heldPod := watched("shop", "held", watchedMount("/data", disconnected...), watchedMount("/logs"+hostile, probes.CauseNone))
	heldPod.Held, heldPod.Message = controllers.HeldNoFreshMount, "a fresh mount would fail: dial https://me:hunter2@files/?sig=abc: refused\x1b[2J"
	heldPod.HeldSince, heldPod.AskAgain = ago(5*time.Minute), now.Add(4*time.Second)
	settling := watched("batch", "settling", watchedMount("/data", disconnected...))
	settling.Rules.Settle = time.Minute
	starting := watched("batch", "starting")
	starting.Looked, starting.NextLook = time.Time{}, now.Add(30*time.Second)
	report := watched("ops", "report", watchedMount("/data", disconnected...))
	report.Mode, report.Problem, report.Held, report.HeldSince = config.ModeReport, `mountwarden.io/mode "Sometimes": allowed are Remediate, Report`, controllers.HeldReportMode, ago(time.Hour)
	report.Message = "the pod is in mode Report; it is never removed"
	removed := watched("ops", "removed", watchedMount("/data", disconnected...))
	removed.Removed = true
	full := watchedMount("/data", probes.CauseNone)
	full.Mount.Observation.Warning, full.Mount.Observation.Detail = probes.WarningNoSpace, "no block is left"
	return []controllers.Watched{
		watched("web", "healthy", watchedMount("/data", probes.CauseNone)), heldPod, settling, starting, report, removed,
		watched("batch", "due", watchedMount("/data", disconnected...)),
		watched("db", "hung", watchedMount("/data", probes.CauseNone, probes.CauseHung)),
		watched("db", "suspect", watchedMount("/data", probes.CauseIOError)),
		watched("db", "once-more", watchedMount("/data", probes.CauseIOError, probes.CauseIOError)),
		watched("db", "unseen", watchedMount("/data", probes.CauseNone, unknown)),
		watched("db", "full", full),
	}
}

func removals() []controllers.Removal {
	r := func(name string, at time.Duration) controllers.Removal {
		return controllers.Removal{
			Namespace: "web", Pod: name, PodUID: types.UID(name), Owner: "ReplicaSet/web", Backend: "CSI/csi.example.com", Cause: probes.CauseDisconnected,
			Since: ago(at + time.Second), At: ago(at), Deadline: ago(at - 5*time.Minute),
		}
	}
	healed, stuck, ends, waits := r("web-1", time.Hour), r("web-2", 10*time.Minute), r("web-3", 3*time.Second), r("web-4", time.Second)
	healed.Gone, healed.Successor, healed.Aftermath, healed.Ended = true, "web-5", controllers.AftermathHealed, ago(time.Hour-1500*time.Millisecond)
	stuck.Stuck = "process 7 (app\x1b) waits in fuse"
	waits.Gone = true
	return []controllers.Removal{healed, stuck, ends, waits}
}

// node is a node with all of that.
func node() status.Live { return nodeWith(pods(), removals()) }

func nodeWith(pods []controllers.Watched, removals []controllers.Removal) status.Live {
	return status.Live{
		Node: "node-1", Version: "v1.2.3", Kernel: "6.12.1", Started: ago(26 * time.Hour), Now: func() time.Time { return now },
		Watched: func() []controllers.Watched { return pods }, Removals: func() []controllers.Removal { return removals },
		LastLook: func() time.Time { return ago(2 * time.Second) }, Overdue: func() time.Duration { return 1500 * time.Millisecond },
		EventSources: func() []status.EventSource {
			return []status.EventSource{{Name: "fuse-daemon", Available: true, Watched: 3, Detail: "the end of a process"}, {Name: "ext4-errors", Detail: "find file systems: no such file"}}
		},
		Workers: func() status.Workers { return status.Workers{Alive: 4, Idle: 2, InFlight: 2, Parked: 1, MaxParked: 64} },
	}
}

// crowd is n pods with one healthy mount each.
func crowd(n int) []controllers.Watched {
	var all []controllers.Watched
	for i := range n {
		all = append(all, watched("crowd", fmt.Sprintf("pod-%05d", i), watchedMount("/data", probes.CauseNone)))
	}
	return all
}
