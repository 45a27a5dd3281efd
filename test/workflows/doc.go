// Package workflows tests what GitHub runs: that the files below .github are valid, run nothing that is not pinned, and may do no more than they
// must. It holds tests only.
package workflows
