// Package agents runs many agents in one process: for each node the real reconciler, gates, ledger and follow-up, with a client of
// its own, and without what a node would cost: the node's looks are answered by the model of package world, and all caches are fed
// by one watch.
//
// An agent may crash at any write: before the request is sent, or after the API server took it and before the agent sees the
// answer. Nothing of it is left then, and another begins after a moment, as a DaemonSet's pod does. Its clock may be wrong, and
// its cache may be behind.
//
// Do not use it for what an agent costs on a node: see test/bench.
package agents
