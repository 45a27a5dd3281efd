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

// tracker remembers the watched pods. The controller never reconciles one pod twice at a time, so a tracked pod's own
// fields need no lock but those that metrics read.
type tracker struct {
	mu   sync.Mutex
	pods map[types.NamespacedName]*tracked
}

// tracked is what is remembered of one pod, from its first look to its end.
type tracked struct {
	uid          types.UID
	probed       string    // the UID by which the prober knows it
	invalid      string    // what was wrong with its annotations when last reported
	blockedSince time.Time // since when a budget has refused its eviction
	retry        retry     // when its removal may be asked for again
	done         bool      // it was removed; nothing more is to be done to this UID
	spread       bool      // its turn has been set apart from that of others

	written      *corev1.PodCondition // the condition that was written last, until the cache shows it
	unwritten    bool                 // the latest try to write it failed
	healthySince time.Time            // since when it said so before a mount failed; zero when it did not

	mu        sync.Mutex
	due       time.Time      // when the next look is to be made
	announced probes.Trigger // what calls for a look out of turn; "" when nothing does
	state     verdict.State
	mode      config.Mode
	backends  map[probes.Target]probes.Backend
	held      controllers.Held
	told      map[controllers.Held]time.Time // when it was last told that the pod is held for that; nil when it is not held
	public    public
}

func newTracker() *tracker {
	return &tracker{pods: map[types.NamespacedName]*tracked{}}
}

// of returns what is remembered of the pod, afresh for a UID that was not seen under this name, and the former one of that name.
func (t *tracker) of(pod *corev1.Pod) (now, former *tracked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(pod)
	former = t.pods[key]
	if former != nil && former.uid == pod.UID {
		return former, nil
	}
	now = &tracked{uid: pod.UID, probed: folderUID(pod)}
	t.pods[key] = now
	return now, former
}

func (t *tracker) has(key types.NamespacedName) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.pods[key]
	return ok
}

// probed returns the pod that the prober knows by the UID.
func (t *tracker) probed(uid string) (types.NamespacedName, *tracked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, p := range t.pods {
		if p.probed == uid {
			return key, p
		}
	}
	return types.NamespacedName{}, nil
}

// forget returns what was remembered, nil when nothing was.
func (t *tracker) forget(key types.NamespacedName) *tracked {
	t.mu.Lock()
	defer t.mu.Unlock()
	former := t.pods[key]
	delete(t.pods, key)
	return former
}

// all returns a copy of the map, so that no lock is held while each pod is read.
func (t *tracker) all() map[types.NamespacedName]*tracked {
	t.mu.Lock()
	defer t.mu.Unlock()
	pods := make(map[types.NamespacedName]*tracked, len(t.pods))
	for key, p := range t.pods {
		pods[key] = p
	}
	return pods
}

func (p *tracked) snapshot() verdict.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// update keeps what is believed after a round of looks that ended now.
func (p *tracked) update(pod *corev1.Pod, mode config.Mode, s verdict.State, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.mode, p.backends = s, mode, backends(pod, s, p.backends)
	p.public.looked, p.public.histories = now, p.public.histories.after(s, now)
}

// nextLook returns when the next look is to be made; the zero time before the first one.
func (p *tracked) nextLook() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.due
}

// announce calls for a look as soon as possible.
func (p *tracked) announce(trigger probes.Trigger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announced = trigger
	p.due = time.Time{}
}

// begin starts a look that has until the given time, and returns what called for it.
func (p *tracked) begin(until time.Time) probes.Trigger {
	p.mu.Lock()
	defer p.mu.Unlock()
	trigger := p.announced
	if trigger == "" {
		trigger = probes.TriggerPeriod
	}
	p.announced, p.due = "", until
	return trigger
}

// lookAgain sets the time of the next look, unless one was called for meanwhile. A look that confirms what another has
// found is called for by the same trigger.
func (p *tracked) lookAgain(at time.Time, trigger probes.Trigger, confirms bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.announced != "" {
		return
	}
	p.due = at
	if confirms && trigger != probes.TriggerPeriod {
		p.announced = trigger
	}
}

// tellAgain is how soon the same reason is news again. In a storm a pod is held for one reason and another in turn, every few seconds.
const tellAgain = 5 * time.Minute

// hold notes what came now of asking for the pod's removal, and reports whether the reason for which it stays is news.
func (p *tracked) hold(result controllers.Result, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.held != result.Held
	p.held = result.Held
	p.public.answer(result, changed, now)
	return changed && p.isNews(now)
}

// isNews reports whether it is to be told why the pod is held, and notes that it is. That it is held no more is always told.
func (p *tracked) isNews(now time.Time) bool {
	if p.held == "" {
		p.told = nil
		return true
	}
	if last, told := p.told[p.held]; told && now.Sub(last) < tellAgain {
		return false
	}
	if p.told == nil {
		p.told = map[controllers.Held]time.Time{}
	}
	p.told[p.held] = now
	return true
}

// clear forgets a remediation that is no longer called for.
func (p *tracked) clear() {
	p.blockedSince, p.retry = time.Time{}, retry{}
	p.hold(controllers.Result{}, time.Time{})
}

// Statuses returns the state of every watched mount of this node, in no order.
func (r *Reconciler) Statuses() []controllers.Status {
	var all []controllers.Status
	for key, p := range r.tracker.all() {
		p.mu.Lock()
		for target, mount := range p.state {
			all = append(all, controllers.Status{
				Namespace: key.Namespace, Pod: key.Name, PodUID: p.uid, FolderUID: p.probed, Mode: p.mode, Backend: p.backends[target],
				Target: target, Mount: mount, Held: p.held,
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

// PodsInvalid returns the number of watched pods whose annotations are not understood.
func (r *Reconciler) PodsInvalid() int {
	invalid := 0
	for _, p := range r.tracker.all() {
		p.mu.Lock()
		if p.public.problem != "" {
			invalid++
		}
		p.mu.Unlock()
	}
	return invalid
}

// expected returns when the next look is to be made, or later where containers that have just started have it wait. The caller holds mu.
func (p *tracked) expected() time.Time {
	if p.due.Before(p.public.waits) {
		return p.public.waits
	}
	return p.due
}

// awaited returns when the next look must have been made; the zero time before the first one.
func (p *tracked) awaited() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.IsZero() {
		return time.Time{}
	}
	return p.expected()
}

// Overdue returns by how much the look that is most behind its time is late; 0 when none is.
func (r *Reconciler) Overdue() time.Duration {
	var worst time.Duration
	now := r.Now()
	for _, p := range r.tracker.all() {
		if due := p.awaited(); !due.IsZero() {
			worst = max(worst, now.Sub(due))
		}
	}
	return worst
}

// LastScan returns when a look was last finished; the zero time before the first.
func (r *Reconciler) LastScan() time.Time {
	if ns := r.lastScan.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}
