// Package script is what the host tells a guest to do, and what the guest says of it: jobs as JSON in the initramfs, all of which run at the same
// time, and lines that begin with Mark. The end of a job is said in a line, and so is the end of all; what was not said did not happen.
package script
