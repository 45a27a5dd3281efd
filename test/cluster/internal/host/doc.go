// Package host checks that a machine can carry a cluster, and installs what is missing where it may:
// as root on Debian and Ubuntu.
//
// Every check says in plain words what is missing and what to do about it. The kernel is asked by
// doing the thing (unshare(2), an overlay mount) and not by reading version numbers.
package host
