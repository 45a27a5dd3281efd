// Package apiserver starts etcd and a kube-apiserver, and nothing else, for programs that play the rest of a cluster.
//
// Who asks is told by tokens (--token-auth-file); the API server listens on the loopback of the machine, for as long as it runs. etcd
// does not wait for the disk. Nothing collects garbage and nothing runs pods: whoever starts it is the kubelet and the controllers.
//
// Do not use it for the tests of one package of the agent: those have apitest, which speaks with a testing.TB.
package apiserver
