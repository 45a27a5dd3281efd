// Package ledger is what all agents together know of removals: who is being removed, how many were in the last window, whether
// that helped, and how often an owner's pods were removed in a row.
//
// It is kept in Leases of the agents' own namespace, which no agent reads or writes while nothing fails. One of them,
// the ledger, is changed by all agents through its resourceVersion, so that a budget, the one trial of a backend and the one removal of
// an owner at a time hold whoever asks first, and whoever crashes afterwards. Leases of owners remember the row of removals.
//
// The times in it are the API server's (see Clock): nodes whose clocks differ count the same window.
//
// What may be removed is computed by pure functions of the ledger's text and the time. Do not ask it whether a pod should
// be removed for its own sake: see package remediate.
package ledger
