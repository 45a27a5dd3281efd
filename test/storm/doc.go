// Command storm simulates what clusters of hundreds of nodes see on their worst days, on a real API server with many real
// agents in one process, and counts what they remove:
//
//	make storm
//
// Everything is a plain API object: package world plays kubelets, controllers and backends, package agents runs the agents' real gates
// and ledger, and package observer judges each removal by nothing but the API server's audit log and watches. Each storm is played
// with the guards and without them.
//
// It needs etcd and kube-apiserver, and no root. Figures depend on the machine; the violations, of which there must be none, do not.
package main
