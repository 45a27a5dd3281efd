// Package permissions asks the API server at start-up whether the agent may do what it will have to do, so that a
// missing rule is found by the person who installs it and not at the first broken mount.
//
// It leans on SelfSubjectAccessReview, which every authenticated user may create (ClusterRole system:basic-user).
//
// Do not use it to decide whether a single call may be made: the answer may be out of date by then, and the call's own error
// is the truth.
package permissions
