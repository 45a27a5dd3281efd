// Guest is the first program of a virtual machine of package kernelvm. It mounts what a node has mounted, loads modules, runs the jobs that it
// finds in its file system one after the other, tells of them on the second serial port, and switches the machine off.
//
// It moves out of the kernel's first root file system, which pivot_root(2) refuses to leave, and makes all mounts shared, as systemd does. Its
// loopback interface has the addresses of 192.0.2.0/24 (RFC 5737), so that a server can be somewhere else than on loopback.
// What the jobs leave behind is killed at the end. An error of its own is said and ends the machine without the line that the host waits for.
package main
