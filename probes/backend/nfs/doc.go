// Package nfs asks whether an NFS server answers: it makes the call NULL of program 100003, as
// `rpcinfo -T tcp` does.
//
// These are the facts it relies on. A server that hangs still accepts connections, because its
// kernel does that, so only a reply counts (RFC 5531). NULL needs no credentials and touches no
// export (RFC 1813, RFC 8881). A server that lacks the version of the protocol says so, and is
// there. NFS 4 always uses port 2049 unless the mount has another one. For NFS 3 the server's
// portmapper knows the port.
//
// A node and a pod of it may reach different servers under one address. So the node's own loopback
// and link-local addresses are never asked. Do not use it to probe a mount: a server that answers
// says nothing about one.
package nfs
