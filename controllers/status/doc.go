// Package status is what people see of a node: one Snapshot of what is watched, what is broken,
// since when and why, what happens next, what was done, and whether it helped.
//
// A Snapshot is made of live state on request, and holds nothing afterwards. It reads memory alone
// and touches no mount. Package table shows it in a terminal and package web in a browser. All
// three show the same words.
//
// A Snapshot leaves out secrets that may be in a mount's source or in an error's text. Its names
// and texts are untrusted all the same: whoever shows a Snapshot must escape it.
//
// Do not use it to decide anything: verdict and remediate do.
package status
