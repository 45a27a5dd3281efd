package ledger

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// streak counts consecutive evictions of an owner's pods: each pod was created after the previous
// one was evicted. Replicas that existed together count once. The zero value is an owner of which
// nothing is known.
type streak struct {
	attempts      int
	startedAt     time.Time // when the streak began
	countedAt     time.Time // when an eviction was last counted
	lastRemovedAt time.Time // when a pod was last evicted, counted or not
	lastPod       types.UID // that pod
}

// checkReplacement holds back the replacement of an evicted pod: the longer the more have failed,
// and indefinitely after MaxAttempts.
func (s streak) checkReplacement(a Ask, b config.Backoff, now time.Time) *Refusal {
	if s.lastPod == a.PodUID || !s.isContinuedBy(a, b) {
		return nil
	}
	before := s.countBefore(a)
	if before >= b.MaxAttempts {
		return &Refusal{controllers.HeldGaveUp, fmt.Sprintf("%d pods of %s were removed in a row and their successors failed as well: find out why, then delete the Lease %s; "+
			"a pod of it that fails after %s of health begins anew, too", before, a.Owner, ownerLeaseName(a.Entry), time.Duration(b.ForgetSeconds)*time.Second), time.Minute}
	}
	if wait := a.Since.Add(backoffDelay(before, b)).Sub(now); wait > 0 {
		return &Refusal{controllers.HeldBackoff, fmt.Sprintf("%d pods of %s were removed in a row; this one waits %s", before, a.Owner, backoffDelay(before, b)), wait}
	}
	return nil
}

// isContinuedBy reports whether the pod was created within the streak, and its mounts were not
// healthy for long enough to end it. The time of its creation is known to the second only.
func (s streak) isContinuedBy(a Ask, b config.Backoff) bool {
	return s.attempts > 0 && a.createdAfter(s.startedAt) && !wasHealthyLong(a, b)
}

// countBefore returns how many were evicted in a row before the pod, which continues the streak.
// Replicas beside it that were evicted earlier are not counted.
func (s streak) countBefore(a Ask) int {
	if a.createdAfter(s.countedAt) {
		return s.attempts
	}
	return s.attempts - 1
}

func (a Ask) createdAfter(t time.Time) bool { return a.Created.Add(maxClockSkew).After(t) }

func wasHealthyLong(a Ask, b config.Backoff) bool {
	return a.Healthy >= time.Duration(b.ForgetSeconds)*time.Second
}

// backoffDelay is how long a pod waits before which this many, at least one, were evicted.
func backoffDelay(before int, b config.Backoff) time.Duration {
	return growDelay(time.Duration(b.InitialSeconds)*time.Second, 2, before, time.Duration(b.MaxSeconds)*time.Second)
}

// growDelay is the first delay after one failure, and factor times as long after each further one, up
// to the longest.
func growDelay(first time.Duration, factor, failures int, longest time.Duration) time.Duration {
	delay := first
	for range failures - 1 {
		if delay *= time.Duration(factor); delay >= longest {
			break
		}
	}
	return min(delay, longest)
}

// withRemoval is the streak with one more eviction. If the pod's mounts were healthy for long, the
// streak begins again: evictions have helped. The length does not change if the pod was counted
// already, if it existed when the latest one was counted, or if it is older than the streak.
func (s streak) withRemoval(a Ask, b config.Backoff, now time.Time) streak {
	forget := time.Duration(b.ForgetSeconds) * time.Second
	switch {
	case s.lastPod == a.PodUID:
	case s.isContinuedBy(a, b):
		if a.createdAfter(s.countedAt) {
			s.attempts, s.countedAt = s.attempts+1, now
		}
	case s.attempts == 0 || now.Sub(s.lastRemovedAt) > forget || a.createdAfter(s.startedAt):
		s.attempts, s.startedAt, s.countedAt = 1, now, now
	}
	s.lastRemovedAt, s.lastPod = now, a.PodUID
	return s
}
