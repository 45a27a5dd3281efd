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

// The delay of an owner whose latest eviction has ended without a healthy replacement pod is
// followUpSeconds after the first one, and four times as long after each further one.
const (
	ownerDelayFactor = 4
	maxOwnerDelay    = 4 * time.Hour
)

// maxOwners bounds the owners without a healthy replacement, as maxTrials bounds backends. One that
// is forgotten early is tried once more.
const maxOwners = 150

// checkUnreplaced refuses while the latest evicted pod of the owner has no healthy replacement. The
// next one would most likely get none either, and the owner would lose one replica after the other.
//
// There are two exceptions. A pod that was created after that eviction is the replacement itself:
// the streak of its owner holds it, unless its cause may be the backend's. And a pod that shared
// its mount with the evicted one is evicted too, because no replacement gets a fresh mount while it
// stays.
func (s State) checkUnreplaced(a Ask, cfg config.Config, now time.Time) *Refusal {
	var wait time.Duration
	keys := []string{a.ownerName()}
	if a.Cause.Recoverable() {
		keys = append(keys, a.ownerKey())
	}
	for _, key := range keys {
		t := s.Owners[key]
		isNext := !a.Cause.Recoverable() && a.createdAfter(t.RemovedAt)
		if shares := t.Case != "" && t.Case == a.sharedMountKey(); !isNext && !shares {
			wait = max(wait, t.remainingOwnerDelay(cfg, now))
		}
	}
	if wait <= 0 {
		return nil
	}
	return &Refusal{controllers.HeldBackoff, fmt.Sprintf("the latest pod of %s that was removed has no healthy replacement as far as is known; the next one is "+
		"tried in %s, or when the Lease %s is deleted, which forgets all trials and budgets", a.Owner, wait.Round(time.Second), ledgerName), wait}
}

// learnUnreplaced records that the evicted pod has no healthy replacement. A pod's own grace period
// holds its owner until it ends, and no other owner.
func (s State) learnUnreplaced(key string, e Entry, now time.Time) {
	t := s.Owners[key].withFailure(e.At, now)
	if !e.At.Before(t.RemovedAt) {
		t.RemovedAt, t.Case = e.At, e.sharedMountKey()
	}
	if over := e.At.Add(time.Duration(e.Grace) * time.Second); over.After(now) {
		t.Until = laterOf(t.Until, over)
	}
	s.Owners[key] = t
}

// remainingOwnerDelay returns for how long the owner's pods are still held; 0 or less when they are
// not.
func (t Trial) remainingOwnerDelay(cfg config.Config, now time.Time) time.Duration {
	if t.Failures == 0 {
		return 0
	}
	delay := growDelay(time.Duration(cfg.FollowUpSeconds)*time.Second, ownerDelayFactor, t.Failures, maxOwnerDelay)
	return laterOf(t.FailedAt.Add(delay), t.Until).Sub(now)
}

// pruneOwners drops the owners whose delay was over long ago and of which no pod is being evicted.
// While there are too many, it drops the oldest of the namespace that has the most.
func (s State) pruneOwners(cfg config.Config, now time.Time) {
	tried := map[string]bool{}
	for _, e := range s.Entries {
		if e.isPending() {
			tried[e.ownerName()], tried[e.ownerKey()] = true, true
		}
	}
	maps.DeleteFunc(s.Owners, func(key string, t Trial) bool {
		return !tried[key] && t.remainingOwnerDelay(cfg, now) < -forgetTrialAfter
	})
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

// largestNamespace returns the namespace of the most owners; among equals, the first by name.
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
