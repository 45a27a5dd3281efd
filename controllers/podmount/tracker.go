package podmount

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// podTracker keeps the state of the watched pods. The controller never reconciles the same pod
// twice at a time, so the fields of a podState need no lock except those that metrics and the
// status page read.
type podTracker struct {
	mu   sync.Mutex
	pods map[types.NamespacedName]*podState
}

// podState is what is known of one pod, from its first probe until it is not watched any more.
type podState struct {
	uid             types.UID
	proberUID       string       // the UID that the prober knows
	reportedProblem string       // what was last reported to be wrong with its annotations
	blockedSince    time.Time    // since when a budget has refused its eviction
	retry           pendingRetry // when a remediation may be requested again
	removed         bool         // it was evicted or deleted; nothing more is done to this UID
	jittered        bool         // its share of a period (Options.Spread) has been applied

	writtenCondition *corev1.PodCondition // the last condition that was written, until the cache shows it
	writeFailed      bool                 // the latest write of the condition failed
	healthySince     time.Time            // since when the condition was True before a mount failed; zero if it was not

	mu             sync.Mutex
	due            time.Time      // when the next probe is due
	pendingTrigger probes.Trigger // why a probe is due before its time; "" when none is
	state          verdict.State
	mode           config.Mode
	backends       map[probes.Target]probes.Backend
	holdReason     controllers.Held
	reportedHolds  map[controllers.Held]time.Time // when each reason was last reported; nil when not held
	view           statusView
}

func newPodTracker() *podTracker {
	return &podTracker{pods: map[types.NamespacedName]*podState{}}
}

// getOrAddPod returns the state of the pod. If the name is known with another UID or not at all, it
// adds a state without a past, and returns the former pod's state as well.
func (t *podTracker) getOrAddPod(pod *corev1.Pod) (current, former *podState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(pod)
	former = t.pods[key]
	if former != nil && former.uid == pod.UID {
		return former, nil
	}
	current = &podState{uid: pod.UID, proberUID: podDirUID(pod)}
	t.pods[key] = current
	return current, former
}

func (t *podTracker) hasPod(key types.NamespacedName) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.pods[key]
	return ok
}

// findByProberUID returns the pod that the prober knows by the UID.
func (t *podTracker) findByProberUID(uid string) (types.NamespacedName, *podState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, p := range t.pods {
		if p.proberUID == uid {
			return key, p
		}
	}
	return types.NamespacedName{}, nil
}

// dropPod removes the state of a pod and returns it, nil when there was none.
func (t *podTracker) dropPod(key types.NamespacedName) *podState {
	t.mu.Lock()
	defer t.mu.Unlock()
	former := t.pods[key]
	delete(t.pods, key)
	return former
}

// copyPods returns a copy of the map, so that its lock is not held while each pod is read.
func (t *podTracker) copyPods() map[types.NamespacedName]*podState {
	t.mu.Lock()
	defer t.mu.Unlock()
	pods := make(map[types.NamespacedName]*podState, len(t.pods))
	for key, p := range t.pods {
		pods[key] = p
	}
	return pods
}

func (p *podState) currentState() verdict.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// recordRound keeps the state of the mounts after a probe round that ended now.
func (p *podState) recordRound(pod *corev1.Pod, mode config.Mode, s verdict.State, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.mode, p.backends = s, mode, nameBackends(pod, s, p.backends)
	p.view.lastProbe, p.view.histories = now, p.view.histories.addTransitions(s, now)
}

// nextProbe returns when the next probe is due; the zero time before the first one.
func (p *podState) nextProbe() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.due
}

// requestProbe makes a probe due now, because of the trigger.
func (p *podState) requestProbe(trigger probes.Trigger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pendingTrigger = trigger
	p.due = time.Time{}
}

// startProbe starts a probe that must end by the given time, and returns what triggered it.
func (p *podState) startProbe(until time.Time) probes.Trigger {
	p.mu.Lock()
	defer p.mu.Unlock()
	trigger := p.pendingTrigger
	if trigger == "" {
		trigger = probes.TriggerPeriod
	}
	p.pendingTrigger, p.due = "", until
	return trigger
}

// scheduleProbe sets the time of the next probe, unless one was requested meanwhile. A probe that
// confirms the result of another has the same trigger.
func (p *podState) scheduleProbe(at time.Time, trigger probes.Trigger, confirms bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pendingTrigger != "" {
		return
	}
	p.due = at
	if confirms && trigger != probes.TriggerPeriod {
		p.pendingTrigger = trigger
	}
}

// holdReportInterval is the least time between two reports of the same reason. When many mounts of
// a backend fail, a pod may be held for two reasons by turns, every few seconds.
const holdReportInterval = 5 * time.Minute

// recordHold keeps the result of a remediation request, and reports whether the reason why the pod
// is held has to be reported.
func (p *podState) recordHold(result controllers.Result, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.holdReason != result.Held
	p.holdReason = result.Held
	p.view.updateResult(result, changed, now)
	return changed && p.shouldReportHold(now)
}

// shouldReportHold reports whether the reason why the pod is held has to be reported, and remembers
// that it was. The end of a hold always has to be.
func (p *podState) shouldReportHold(now time.Time) bool {
	if p.holdReason == "" {
		p.reportedHolds = nil
		return true
	}
	if last, reported := p.reportedHolds[p.holdReason]; reported && now.Sub(last) < holdReportInterval {
		return false
	}
	if p.reportedHolds == nil {
		p.reportedHolds = map[controllers.Held]time.Time{}
	}
	p.reportedHolds[p.holdReason] = now
	return true
}

// clearRemediation forgets a remediation that is not needed any more.
func (p *podState) clearRemediation() {
	p.blockedSince, p.retry = time.Time{}, pendingRetry{}
	p.recordHold(controllers.Result{}, time.Time{})
}

// Statuses returns the state of every watched mount of this node, in no order.
func (r *Reconciler) Statuses() []controllers.Status {
	var all []controllers.Status
	for key, p := range r.tracker.copyPods() {
		p.mu.Lock()
		for target, mount := range p.state {
			all = append(all, controllers.Status{
				Namespace: key.Namespace, Pod: key.Name, PodUID: p.uid, FolderUID: p.proberUID, Mode: p.mode, Backend: p.backends[target],
				Target: target, Mount: mount, Held: p.holdReason,
			})
		}
		p.mu.Unlock()
	}
	return all
}

// PodsWatched returns the number of watched pods.
func (r *Reconciler) PodsWatched() int {
	r.tracker.mu.Lock()
	defer r.tracker.mu.Unlock()
	return len(r.tracker.pods)
}

// PodsInvalid returns the number of watched pods whose annotations are invalid.
func (r *Reconciler) PodsInvalid() int {
	invalid := 0
	for _, p := range r.tracker.copyPods() {
		p.mu.Lock()
		if p.view.problem != "" {
			invalid++
		}
		p.mu.Unlock()
	}
	return invalid
}

// expectedProbe returns when the next probe is due, or when it may be made at the earliest if
// containers that have just started delay it. The caller holds mu.
func (p *podState) expectedProbe() time.Time {
	if p.due.Before(p.view.earliestProbe) {
		return p.view.earliestProbe
	}
	return p.due
}

// probeDeadline returns when the next probe must have started, or the present one must have ended;
// the zero time before the first one.
func (p *podState) probeDeadline() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.IsZero() {
		return time.Time{}
	}
	return p.expectedProbe()
}

// Overdue returns by how much the probe that is most behind its time is late; 0 when none is.
func (r *Reconciler) Overdue() time.Duration {
	var worst time.Duration
	now := r.Now()
	for _, p := range r.tracker.copyPods() {
		if due := p.probeDeadline(); !due.IsZero() {
			worst = max(worst, now.Sub(due))
		}
	}
	return worst
}

// LastScan returns when a probe round last ended; the zero time before the first.
func (r *Reconciler) LastScan() time.Time {
	if ns := r.lastProbeEnd.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}
