package ledger

import (
	"context"
	"fmt"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ownerLease is the Lease of an owner, and the streak that is stored in it.
type ownerLease struct {
	lease  *coordinationv1.Lease
	streak streak
}

// readOwnerLease reads what is known of the owner of the pod.
func (s *Store) readOwnerLease(ctx context.Context, a Ask) (ownerLease, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	name := ownerLeaseName(a.Entry)
	lease, err := s.leases.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ownerLease{lease: newLease(s.config.Namespace, name, recordOwner)}, nil
	}
	if err != nil {
		return ownerLease{}, fmt.Errorf("read the Lease %s/%s of %s: %w", s.config.Namespace, name, a.Owner, err)
	}
	r, err := parseStreak(lease)
	if err != nil {
		return ownerLease{}, fmt.Errorf("%w: Lease %s/%s of %s: %w; delete the Lease, and the agents begin a new row",
			ErrMalformed, s.config.Namespace, name, a.Owner, err)
	}
	return ownerLease{lease, r}, nil
}

func parseStreak(lease *coordinationv1.Lease) (r streak, err error) {
	if r.attempts, err = strconv.Atoi(lease.Annotations[annotationAttempts]); err != nil || r.attempts < 0 {
		return streak{}, fmt.Errorf("annotation %s is %q, not a number of removals", annotationAttempts, lease.Annotations[annotationAttempts])
	}
	for key, to := range map[string]*time.Time{annotationFirst: &r.startedAt, annotationCounted: &r.countedAt} {
		if *to, err = time.Parse(time.RFC3339Nano, lease.Annotations[key]); err != nil {
			return streak{}, fmt.Errorf("annotation %s is %q, not a time as in RFC 3339", key, lease.Annotations[key])
		}
	}
	if lease.Spec.RenewTime == nil {
		return streak{}, fmt.Errorf("spec.renewTime is not set")
	}
	r.lastRemovedAt, r.lastPod = lease.Spec.RenewTime.Time, types.UID(lease.Annotations[annotationPodUID])
	return r, nil
}

// countRemoval adds the pod to the streak of its owner, once.
func (s *Store) countRemoval(ctx context.Context, o ownerLease, a Ask) error {
	if o.streak.lastPod == a.PodUID {
		return nil
	}
	next := o.streak.withRemoval(a, s.config.Backoff, s.now())
	lease := o.lease.DeepCopy()
	for key, value := range map[string]string{labelOwnerKind: a.Owner.Kind, labelOwnerName: a.Owner.Name, labelOwnerNamespace: a.Namespace} {
		metav1.SetMetaDataLabel(&lease.ObjectMeta, key, toLabelValue(value))
	}
	for key, value := range map[string]string{
		annotationOwner: a.Namespace + "/" + a.Owner.String(), annotationPod: a.Pod, annotationPodUID: string(a.PodUID), annotationBackend: a.Backend,
		annotationCause: string(a.Cause), annotationAttempts: strconv.Itoa(next.attempts), annotationFirst: next.startedAt.UTC().Format(time.RFC3339Nano),
		annotationCounted: next.countedAt.UTC().Format(time.RFC3339Nano),
	} {
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, key, value)
	}
	s.stampLease(lease)
	if _, err := s.putLease(ctx, lease); err != nil {
		return fmt.Errorf("write the Lease %s/%s of %s: %w", s.config.Namespace, lease.Name, a.Owner, err)
	}
	return nil
}

const (
	sweepInterval    = time.Hour
	keepOwnerLease   = time.Hour          // added to the longest delay and to how long a pod must stay healthy
	keepGivenUpLease = 7 * 24 * time.Hour // of an owner that was given up; longer than any configurable delay
)

// deleteStaleLeases deletes the Leases of owners that are of no use any more. It costs one list an
// hour, and only an agent that has evicted a pod does it. What fails is done the next time.
func (s *Store) deleteStaleLeases(ctx context.Context) error {
	if !s.isSweepDue() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := s.leases.List(ctx, metav1.ListOptions{LabelSelector: labelManagedBy + "=" + managedBy + "," + labelRecord + "=" + recordOwner})
	if err != nil {
		return fmt.Errorf("list the Leases of owners: %w", err)
	}
	for i := range list.Items {
		if l := &list.Items[i]; s.isLeaseStale(l) {
			precondition := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &l.ResourceVersion}}
			if err := s.leases.Delete(ctx, l.Name, precondition); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return fmt.Errorf("delete the Lease %s/%s, which is out of date: %w", l.Namespace, l.Name, err)
			}
		}
	}
	return nil
}

func (s *Store) isSweepDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.sweptAt) < sweepInterval {
		return false
	}
	s.sweptAt = s.now()
	return true
}

func (s *Store) isLeaseStale(lease *coordinationv1.Lease) bool {
	r, err := parseStreak(lease)
	b := s.config.Backoff
	keep := keepOwnerLease + time.Duration(b.MaxSeconds+b.ForgetSeconds)*time.Second
	if err == nil && r.attempts >= b.MaxAttempts {
		keep = keepGivenUpLease
	}
	return lease.Spec.RenewTime != nil && s.now().Sub(lease.Spec.RenewTime.Time) > keep
}
