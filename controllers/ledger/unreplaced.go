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
const maxOwners = 150

// unreplaced refuses while the latest removed pod of the owner has no healthy replacement: the next one would most likely
// get none either, and the owner would lose one replica after the other. A pod that was made after that removal is what it
// has come to; the row of its owner holds it, unless its cause may be the backend's. One that shared its mount goes as well: while it
// stays, no replacement gets a fresh one.
func (s State) unreplaced(a Ask, cfg config.Config, now time.Time) *Refusal {
	var wait time.Duration
	keys := []string{a.ownedBy()}
	if a.Cause.Recoverable() {
		keys = append(keys, a.ownerKey())
	}
	for _, key := range keys {
		t := s.Owners[key]
		isNext := !a.Cause.Recoverable() && a.madeAfter(t.RemovedAt)
		if shares := t.Case != "" && t.Case == a.caseKey(); !isNext && !shares {
			wait = max(wait, t.ownerDelay(cfg, now))
		}
	}
	if wait <= 0 {
		return nil
	}
	return &Refusal{controllers.HeldBackoff, fmt.Sprintf("the latest pod of %s that was removed has no healthy replacement as far as is known; the next one is "+
		"tried in %s, or when the Lease %s is deleted, which forgets all trials and budgets", a.Owner, wait.Round(time.Second), ledgerName), wait}
}

// learnUnreplaced notes that the removal has no healthy replacement. A pod's own grace period holds its owner to its end, and nobody else.
func (s State) learnUnreplaced(key string, e Entry, now time.Time) {
	t := s.Owners[key].failed(e.At, now)
	if !e.At.Before(t.RemovedAt) {
		t.RemovedAt, t.Case = e.At, e.caseKey()
	}
	if over := e.At.Add(time.Duration(e.Grace) * time.Second); over.After(now) {
		t.Until = later(t.Until, over)
	}
	s.Owners[key] = t
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
	return later(t.FailedAt.Add(min(delay, maxOwnerDelay)), t.Until).Sub(now)
}

// forgetOwners drops the owners whose delay was over long ago and of which no pod is being tried, and the oldest of whichever namespace has
// the most while there are too many.
func (s State) forgetOwners(cfg config.Config, now time.Time) {
	tried := map[string]bool{}
	for _, e := range s.Entries {
		if e.pending() {
			tried[e.ownedBy()], tried[e.ownerKey()] = true, true
		}
	}
	maps.DeleteFunc(s.Owners, func(key string, t Trial) bool { return !tried[key] && t.ownerDelay(cfg, now) < -forgetTrialIn })
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
