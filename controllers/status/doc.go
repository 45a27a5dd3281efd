// Package status is what people are told of a node: one Snapshot of what is watched, what is broken, since when and why, what will
// happen next, what was done, and whether it helped.
//
// A Snapshot is made of live state when it is asked for, and holds nothing afterwards. It reads memory alone: no mount is touched for
// it. Package table shows it in a terminal and package web to a browser; all three show the same words. Secrets that may stand in a
// mount's source or in an error's text are left out. The names and directions of text are untrusted all the same: whoever shows a
// Snapshot escapes it.
//
// Do not use it to decide anything: verdict and remediate do.
package status
