// Package table shows the status of a node in a terminal, as kubectl shows objects.
//
// Nothing that a mount, a driver or a tenant has named reaches the terminal but as printable text. Its columns are for people and may
// change; programs read the JSON.
package table
