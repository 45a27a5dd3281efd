// Package ask is the protocol between the agent and the program that asks backends: one Question as
// JSON on the program's standard input, one Answer as JSON on its standard output.
//
// Both are built and shipped together, so there is one version of the protocol, and an unknown
// field is an error. A question holds text that tenants choose, such as the source of a mount. An
// answer holds text of a driver or a server. Neither is trusted, and both are bounded.
//
// It asks nothing: see package backend for that.
package ask
