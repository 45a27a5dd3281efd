// Package ledger is what all agents together know of evictions: which pods are being evicted, how
// many were in the last window, whether that helped, and how many pods of an owner were evicted in
// a row.
//
// It is kept in Leases of the agents' own namespace. No agent reads or writes them while nothing
// fails. All agents change one Lease, the ledger, and each write is compared by its
// resourceVersion. So a budget, the one trial of a backend and the one eviction of an owner at a
// time hold whichever agent asks first, and whichever crashes afterwards. One more Lease for each
// owner keeps its streak of evictions.
//
// An eviction goes through these states:
//
//	Refuse   a copy of the ledger is asked, which costs at most one read; it can only refuse
//	Reserve  the entry is written: pending
//	  +-- Release  it was not done: the entry is deleted
//	  +-- MarkUp   a replacement pod is healthy, but not for long enough yet: still pending
//	  +-- Close    the result of the follow-up is known; the entry stays for the budgets only
//	  +-- (nobody) after followUpTimeout the entry counts as closed without success
//
// The times in it are the API server's (see Clock), so that nodes whose clocks differ count the
// same window.
//
// What may be evicted is computed by pure functions of the ledger's text and the time
// (State.checkAsk). Do not use the ledger to decide whether a pod should be evicted: see package
// remediate.
package ledger
