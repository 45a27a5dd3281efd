// Package vm boots a virtual machine in QEMU, emulated in software (no KVM, which most test machines lack), and hands on what its guest
// says.
//
// Measured facts behind it: QEMU 7.2 of Debian 12 crashes guests of Linux 6.12, 10.0 does not; a boot sometimes stops before the
// guest's first line, and succeeds when it is tried again; QEMU's exit status is 0 whatever becomes of the guest, so only the guest's
// own last line counts.
package vm
