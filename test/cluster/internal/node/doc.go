// Package node says what a one-node Kubernetes consists of: where its files are, what they contain
// and with which arguments each component runs.
//
// The arguments lean on the reference pages of the components ("kube-apiserver", "KubeletConfiguration
// v1beta1", containerd's docs/cri/config.md); where a value is there because a test machine needs
// it, a comment says so. The addresses live in the cluster's own network namespace, so every
// cluster has the same ones. Nothing here starts anything.
package node
