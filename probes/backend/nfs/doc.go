// Package nfs asks whether an NFS server answers: it makes the call NULL of program 100003, as `rpcinfo -T tcp` does.
//
// The facts it leans on: a server that hangs still accepts connections, since the kernel does that for it, so only a reply counts
// (RFC 5531); NULL needs no credentials and touches no export (RFC 1813, RFC 8881); a server that lacks the asked version of the protocol says so,
// and is there; and NFS 4 is always at port 2049 unless the mount says otherwise, while of NFS 3 the server's portmapper knows.
//
// A node and a pod of it may not reach the same: the node's own loopback and link-local addresses are never asked, since the
// answer would be that of somebody else. Do not use it to look at a mount: that a server answers says nothing of one.
package nfs
