// Package table shows the status of a node in a terminal, as kubectl shows objects.
//
// It prints names that a mount, a driver or a tenant chose as printable text only. Its columns are
// for people and may change. Programs read the JSON.
package table
