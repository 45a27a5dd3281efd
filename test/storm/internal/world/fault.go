package world

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/storm/internal/observer"
)

// Look returns what a look at the pod's mount would find, and for how long it has been broken.
func (w *World) Look(uid types.UID) (health probes.Health, cause probes.Cause, broken time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.pods[uid]
	switch {
	case !ok || !p.mounted || p.unknown:
		return probes.Unknown, probes.CauseNone, 0
	case p.fault != probes.CauseNone:
		return probes.Broken, p.fault, time.Since(p.broken)
	default:
		return probes.Healthy, probes.CauseNone, 0
	}
}

// Fresh reports whether a fresh mount of the backend would succeed on the node.
func (w *World) Fresh(backend, node string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up(backend, node)
}

func (w *World) up(backend, node string) bool {
	return !w.down[place{backend, ""}] && !w.down[place{backend, node}]
}

// Pods returns the pods that have run for so long, are healthy by their annotation too, are not ending, and match.
func (w *World) Pods(age time.Duration, match func(backend, node string) bool) (uids []types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid, p := range w.pods {
		well := p.mounted && !p.ending && p.fault == probes.CauseNone && !p.unknown && !p.scarred
		if well && time.Since(p.since) >= age && match(p.backend, p.node) {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids) // so that a seed chooses the same
	return uids
}

// Down takes a backend away, from one node or with "" from all: its mounts break and fresh ones fail.
func (w *World) Down(ctx context.Context, backend, node string) error {
	w.mu.Lock()
	w.down[place{backend, node}] = true
	w.mu.Unlock()
	return w.Break(ctx, probes.CauseDisconnected, w.Pods(0, func(b, n string) bool { return b == backend && (node == "" || n == node) })...)
}

// Up brings a backend back. Mounts that were made before stay broken; pods that waited for it start.
func (w *World) Up(backend, node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.down, place{backend, node})
	for uid, p := range w.pods {
		if p.backend == backend && !p.mounted {
			p.due = time.Now().Add(w.about(w.Start))
			w.queue.AddAfter(task{pod: uid}, time.Until(p.due))
		}
	}
}

// Break breaks the mounts of pods, together: first all annotations tell of it, then the looks do.
func (w *World) Break(ctx context.Context, cause probes.Cause, uids ...types.UID) error {
	if err := w.annotate(ctx, string(cause), uids); err != nil {
		return err
	}
	w.eachOf(uids, func(p *pod) {
		p.fault, p.broken = cause, time.Now()
		for _, f := range w.onFault {
			f(p.node, p.uid)
		}
	})
	return nil
}

// Hide takes pods out of sight: no look can tell.
func (w *World) Hide(ctx context.Context, uids ...types.UID) error {
	if err := w.annotate(ctx, observer.FaultUnknown, uids); err != nil {
		return err
	}
	w.eachOf(uids, func(p *pod) { p.unknown = true })
	return nil
}

// Mend has mounts answer again. Strike the annotations out when nobody can still be at work with a former look.
func (w *World) Mend(uids ...types.UID) {
	w.eachOf(uids, func(p *pod) { p.fault, p.unknown, p.scarred = probes.CauseNone, false, true })
}

// Strike takes the annotations of mended mounts away; these may break again.
func (w *World) Strike(ctx context.Context, uids ...types.UID) error {
	if err := w.annotate(ctx, "", uids); err != nil {
		return err
	}
	w.eachOf(uids, func(p *pod) { p.scarred = false })
	return nil
}

func (w *World) eachOf(uids []types.UID, do func(*pod)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, uid := range uids {
		if p, ok := w.pods[uid]; ok {
			do(p)
		}
	}
}

// annotate writes what is true of the pods, "" for nothing.
func (w *World) annotate(ctx context.Context, fault string, uids []types.UID) error {
	var chosen []pod
	w.eachOf(uids, func(p *pod) { chosen = append(chosen, *p) })
	var value any = fault
	if fault == "" {
		value = nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(w.Workers)
	for _, p := range chosen {
		group.Go(func() error {
			return w.patch(ctx, p, map[string]any{"metadata": map[string]any{"uid": p.uid, "annotations": map[string]any{observer.AnnotationFault: value}}})
		})
	}
	return group.Wait()
}

// Unsettled counts what is not as it should be: pods that are broken, ending or do not run, and pods that are missing.
func (w *World) Unsettled() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted, good, bad := 0, 0, 0
	for _, o := range w.owners {
		wanted += o.Replicas
	}
	for _, p := range w.pods {
		if p.mounted && !p.ending && p.fault == probes.CauseNone {
			good++
		} else if p.ending || p.fault != probes.CauseNone {
			bad++
		}
	}
	return max(wanted-good, bad)
}

// Stays reports whether no agent may remove the pod: it has not opted in, or only to be told of.
func (w *World) Stays(uid types.UID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.pods[uid]
	if !ok || w.owners[p.owner] == nil {
		return true
	}
	a := w.owners[p.owner].Annotations
	return a[config.AnnotationWatch] != "true" || a[config.AnnotationMode] == string(config.ModeReport)
}
