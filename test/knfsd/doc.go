// Package knfsd serves NFS 3 and 4.2 from this machine's kernel, without nfs-utils, and breaks it: tests mount it as any client would, through a
// gate that stalls, drops, refuses or delays, and volumes are made anew or taken out of export.
//
// The facts it leans on. The kernel's server is run by files below /proc/fs/nfsd (nfsd(7)). Whom it exports what to it asks user space
// through caches (Documentation/filesystems/nfs/rpc-cache.rst); answers written before it asks are as good, and so there is no mountd
// to ask. To serve NFS 3 it registers with an rpcbind, for which one that says yes to everything will do; to mount NFS 3 a client asks a mountd
// for the root's handle, which /proc/fs/nfsd/filehandle tells. A socket that has a filter which drops everything (SO_ATTACH_FILTER, not
// on MPTCP) is what a client sees of a machine that has vanished.
//
// It needs root and a kernel with nfsd, of which there is one in each network namespace: use it only where nobody else serves NFS, as in a guest
// of package kernelvm. A test that mounts from it must unmount before it closes the gate.
package knfsd
