// Package initrd makes the file system that a guest starts from: an archive in cpio's format "newc" (Documentation/driver-api/early-userspace),
// which the kernel unpacks into memory.
//
// It needs no program of the host. Of a kernel's modules it takes those that are asked for and what they depend on, by the text "depends=" in
// their section .modinfo, as depmod does, uncompressed and in an order in which finit_module(2) can load them; of dynamic
// programs it takes the libraries that they name as needed, as ldd does.
package initrd
