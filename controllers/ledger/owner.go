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

// owned is the Lease of an owner, and the row that it tells.
type owned struct {
	lease *coordinationv1.Lease
	row   row
}

// owner reads what is known of the owner of the pod.
func (s *Store) owner(ctx context.Context, a Ask) (owned, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	name := leaseName(a.Entry)
	lease, err := s.leases.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return owned{lease: newLease(s.config.Namespace, name, recordOwner)}, nil
	}
	if err != nil {
		return owned{}, fmt.Errorf("read the Lease %s/%s of %s: %w", s.config.Namespace, name, a.Owner, err)
	}
	r, err := readRow(lease)
	if err != nil {
		return owned{}, fmt.Errorf("%w: Lease %s/%s of %s: %w; delete the Lease, and the agents begin a new row",
			ErrMalformed, s.config.Namespace, name, a.Owner, err)
	}
	return owned{lease, r}, nil
}

func readRow(lease *coordinationv1.Lease) (r row, err error) {
	if r.attempts, err = strconv.Atoi(lease.Annotations[annotationAttempts]); err != nil || r.attempts < 0 {
		return row{}, fmt.Errorf("annotation %s is %q, not a number of removals", annotationAttempts, lease.Annotations[annotationAttempts])
	}
	for key, to := range map[string]*time.Time{annotationFirst: &r.first, annotationCounted: &r.counted} {
		if *to, err = time.Parse(time.RFC3339Nano, lease.Annotations[key]); err != nil {
			return row{}, fmt.Errorf("annotation %s is %q, not a time as in RFC 3339", key, lease.Annotations[key])
		}
	}
	if lease.Spec.RenewTime == nil {
		return row{}, fmt.Errorf("spec.renewTime is not set")
	}
	r.last, r.pod = lease.Spec.RenewTime.Time, types.UID(lease.Annotations[annotationPodUID])
	return r, nil
}

// count adds the pod to the row of its owner, once.
func (s *Store) count(ctx context.Context, o owned, a Ask) error {
	if o.row.pod == a.PodUID {
		return nil
	}
	next := o.row.next(a, s.config.Backoff, s.now())
	lease := o.lease.DeepCopy()
	for key, value := range map[string]string{labelOwnerKind: a.Owner.Kind, labelOwnerName: a.Owner.Name, labelOwnerNamespace: a.Namespace} {
		metav1.SetMetaDataLabel(&lease.ObjectMeta, key, label(value))
	}
	for key, value := range map[string]string{
		annotationOwner: a.Namespace + "/" + a.Owner.String(), annotationPod: a.Pod, annotationPodUID: string(a.PodUID), annotationBackend: a.Backend,
		annotationCause: string(a.Cause), annotationAttempts: strconv.Itoa(next.attempts), annotationFirst: next.first.UTC().Format(time.RFC3339Nano),
		annotationCounted: next.counted.UTC().Format(time.RFC3339Nano),
	} {
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, key, value)
	}
	s.stamp(lease)
	if _, err := s.put(ctx, lease); err != nil {
		return fmt.Errorf("write the Lease %s/%s of %s: %w", s.config.Namespace, lease.Name, a.Owner, err)
	}
	return nil
}

const (
	sweepEvery   = time.Hour
	keepOwner    = time.Hour          // on top of the longest delay and of how long a pod must stay healthy
	keepStranded = 7 * 24 * time.Hour // of an owner that was given up; longer than what the configuration can ask for
)

// sweep deletes the Leases of owners that are of no use any more. It costs a list an hour, and only an agent that has removed
// a pod does it. What fails is done the next time.
func (s *Store) sweep(ctx context.Context) error {
	if !s.mustSweep() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := s.leases.List(ctx, metav1.ListOptions{LabelSelector: labelManagedBy + "=" + managedBy + "," + labelRecord + "=" + recordOwner})
	if err != nil {
		return fmt.Errorf("list the Leases of owners: %w", err)
	}
	for i := range list.Items {
		if l := &list.Items[i]; s.isStale(l) {
			precondition := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &l.ResourceVersion}}
			if err := s.leases.Delete(ctx, l.Name, precondition); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return fmt.Errorf("delete the Lease %s/%s, which is out of date: %w", l.Namespace, l.Name, err)
			}
		}
	}
	return nil
}

func (s *Store) mustSweep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.swept) < sweepEvery {
		return false
	}
	s.swept = s.now()
	return true
}

func (s *Store) isStale(lease *coordinationv1.Lease) bool {
	r, err := readRow(lease)
	b := s.config.Backoff
	keep := keepOwner + time.Duration(b.MaxSeconds+b.ForgetSeconds)*time.Second
	if err == nil && r.attempts >= b.MaxAttempts {
		keep = keepStranded
	}
	return lease.Spec.RenewTime != nil && s.now().Sub(lease.Spec.RenewTime.Time) > keep
}
