// Package agents asks every agent of a cluster whether it can do its work: `mountwarden agents`,
// which `helm test` runs.
//
// It asks the agents themselves, at the addresses that the kubelet probes too. So it finds a
// stopped agent with the first request, and not when the failure threshold of the kubelet's probe
// is reached. The DaemonSet's controller says how many agents there should be.
//
// Do not use it to find out which mounts are broken: an agent that reports broken mounts is
// healthy.
package agents
