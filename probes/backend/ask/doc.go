// Package ask is what the agent and the program that asks backends say to each other: one Question as JSON on the program's
// standard input, one answer as JSON on its standard output.
//
// Both are built and shipped together, so there is one version of it, and a field that is not known is an error. A question
// holds text that tenants choose, such as the source of a mount; an answer holds what a driver or a server has said. Neither
// is trusted, and both are bounded.
//
// Do not use it to ask anything: see package backend for that.
package ask
