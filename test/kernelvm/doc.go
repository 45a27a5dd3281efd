// Kernelvm runs the lab on other kernels than this machine's: 5.10, 6.1, 6.12 and 7.3, each in a virtual machine without
// hardware support, whose file systems can be broken in ways that a container cannot (NFS servers, disks).
//
//	make test-kernels               # all four
//	make test-kernels KERNELS=6.1   # one
//
// QEMU, the kernels and the few programs that make file systems are Debian's packages, unpacked into the cache and run from there: nothing
// is installed on the host. A guest is an initramfs with one static program as init (package guest), the modules, and the lab as a test
// binary; it has no network card. What it prints on its second serial port is shown and kept in dist/kernels.
//
// A run fails unless the guest has said that it is done: QEMU ends with 0 after a panic of its guest, too. A skipped test fails the run as
// well, since a guest has all that the tests need. What became of every scenario is held against testdata, of which docs/kernels.md is made; --update writes both anew.
package main
