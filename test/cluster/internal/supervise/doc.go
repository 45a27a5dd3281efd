// Package supervise starts the components of a cluster in order, waits until each is ready, keeps
// their logs, and tells whoever asks over a socket how they are.
//
// It is written to run as pid 1 of a pid namespace (pid_namespaces(7)): pid 1 inherits every orphan
// and must reap it, and when it ends the kernel kills everything else in the namespace. It restarts
// nothing: a component that dies in a test is something the test must see.
package supervise
