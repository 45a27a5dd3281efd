// Package apitest gives tests a real API server: etcd and kube-apiserver, without controllers and
// kubelet.
//
// It uses controller-runtime's envtest, which finds both programs in the directory that
// KUBEBUILDER_ASSETS names. make test sets it. Nothing else runs beside the API server. So a
// deleted pod that is bound to a node stays with its deletionTimestamp, and a PodDisruptionBudget
// has the status that the test wrote.
//
// Do not use it outside tests, and not for what a fake at the level of data can show.
package apitest
