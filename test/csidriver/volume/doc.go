// Package volume keeps the FUSE mounts of a CSI driver: one server, faultfs or another
// program, a mounted path, bind mounts of staged ones, and a record of each on disk.
//
// # Facts leaned on
//
//   - umount2(2) with MNT_DETACH, a bind mount of a mount's root, and mountinfo(5) do
//     not enter the file system, so they do not hang where a stat would. Nothing here
//     ever opens or stats a path before what is mounted on it is gone.
//   - A FUSE server dies with the process that started it (faultfs.Server), as all
//     processes of a container die with its first one. Its mount stays where it is,
//     dead, and pods that use it read ENOTCONN: a crash of the driver breaks its
//     volumes, and nothing but a new publish mends them. The driver does not take
//     dead mounts away by itself when it comes back, since an application would then
//     write to the node's disk. Their records let Unmount clean up, and let Mount tell
//     a retry from a conflict.
//
// # When not to use it
//
// Its volumes lose all data when their server ends. It is for tests of what comes
// after a broken mount.
package volume
