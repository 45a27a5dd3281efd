package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// The delay of an owner whose latest removal has ended without a healthy replacement is followUpSeconds after the first, and four times
// as long after each further one.
const (
	ownerDelayFactor = 4
	maxOwnerDelay    = 4 * time.Hour
)

// maxOwners bounds the owners that have no healthy replacement, as maxTrials bounds backends. One that is forgotten early is tried
// once more.
const maxOwners = 200

// unreplaced refuses while the latest removed pod of the owner has no healthy replacement: the next one would most likely
// get none either, and the owner would lose one replica after the other. A pod that was made after that removal is what it
// has come to; the row of its owner holds it, unless its cause may be the backend's.
func (s State) unreplaced(a Ask, cfg config.Config, now time.Time) *Refusal {
	var wait time.Duration
	if t := s.Owners[a.ownedBy()]; a.Cause.Recoverable() || !a.madeAfter(t.RemovedAt) {
		wait = t.ownerDelay(cfg, now)
	}
	if a.Cause.Recoverable() {
		wait = max(wait, s.Owners[a.ownerKey()].ownerDelay(cfg, now))
	}
	if wait <= 0 {
		return nil
	}
	return &Refusal{controllers.HeldBackoff, fmt.Sprintf("the latest pod of %s that was removed has no healthy replacement; the next one is tried in %s",
		a.Owner, wait.Round(time.Second)), wait}
}

// ownerDelay returns for how long the owner's pods still stay; 0 or less when they need not.
func (t Trial) ownerDelay(cfg config.Config, now time.Time) time.Duration {
	if t.Failures == 0 {
		return 0
	}
	delay := time.Duration(cfg.FollowUpSeconds) * time.Second
	for range t.Failures - 1 {
		if delay *= ownerDelayFactor; delay >= maxOwnerDelay {
			break
		}
	}
	return t.FailedAt.Add(min(delay, maxOwnerDelay)).Sub(now)
}

// forgetOwners drops the owners whose delay was over long ago, and the oldest of whichever namespace has the most while there are too many.
func (s State) forgetOwners(cfg config.Config, now time.Time) {
	maps.DeleteFunc(s.Owners, func(_ string, t Trial) bool { return t.ownerDelay(cfg, now) < -forgetTrialIn })
	for len(s.Owners) > maxOwners {
		largest := s.largestNamespace()
		delete(s.Owners, slices.MinFunc(slices.Collect(maps.Keys(s.Owners)), func(a, b string) int {
			if inA, inB := namespaceOf(a) == largest, namespaceOf(b) == largest; inA != inB {
				if inA {
					return -1
				}
				return 1
			}
			return s.Owners[a].FailedAt.Compare(s.Owners[b].FailedAt)
		}))
	}
}

// largestNamespace returns the namespace of the most owners; of equals the first by name.
func (s State) largestNamespace() string {
	counts := map[string]int{}
	for key := range s.Owners {
		counts[namespaceOf(key)]++
	}
	return slices.MaxFunc(slices.Sorted(maps.Keys(counts)), func(a, b string) int { return counts[a] - counts[b] })
}

func namespaceOf(ownerKey string) string {
	namespace, _, _ := strings.Cut(ownerKey, "/")
	return namespace
}
