// Package e2e tests the whole on a real node: the chart's agent, the kubelet, containerd and real FUSE volumes.
//
// Every test breaks a mount for real, sees the breakage from inside the container first, and then asserts on the
// world: pods and their UIDs, events, metrics. Tests that disturb the agent or the API server run alone; the others run
// in parallel, each in a namespace of its own. Run it with `make test-e2e`, which also brings the cluster up.
package e2e
