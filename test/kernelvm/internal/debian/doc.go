// Package debian fetches packages of Debian and unpacks them somewhere, with an apt of its own folder: its own sources, lists, cache
// and database, so that nothing of the host is read but its mirror and Debian's public keys, and nothing is written.
//
// The versions of kernels that the archive holds change with every update; therefore packages are looked for by patterns. The archive's
// signatures are checked, as always. Do not use it for programs that the host is to have: package packages of the test module
// installs those.
package debian
