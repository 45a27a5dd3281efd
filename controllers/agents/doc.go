// Package agents asks every agent of a cluster whether it can do its work: `mountwarden agents`, which `helm test` runs.
//
// It asks the agents themselves, at the addresses that the kubelet asks too: an agent that has stopped is found at the first question, and
// not when the kubelet has lost its patience. How many agents there should be is the word of the DaemonSet's controller.
//
// Do not use it to find out which mounts are broken: an agent that tells of broken mounts is a healthy one.
package agents
