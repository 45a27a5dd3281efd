// Package permissions asks the API server at start-up whether the agent may do its work. A missing
// rule is then found at installation and not at the first broken mount.
//
// It uses SelfSubjectAccessReview, which every authenticated user may create (ClusterRole
// system:basic-user).
//
// Do not use it to decide whether a single call may be made. The answer may be out of date by then,
// and the error of the call itself is authoritative.
package permissions
