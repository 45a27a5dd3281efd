// Package config turns what people write into two validated values: the agent's Config, and the Policy
// of one watched pod. It is Go code only; the manifests live in charts/.
//
// A Config is built in layers, each stronger than the one before: defaults, file, environment, flags. A
// Policy is built from a pod's annotations within the limits that the Config sets. Annotations are
// free text that any user with write access to a pod controls, so they are read like a hostile file:
// they name the pod's own volumes and containers and never a path of the host, and one that is not
// understood takes away the right to act (ModeReport) instead of falling back to a default.
//
// Do not use it to find out where a pod runs or whether its mounts are healthy: it does no I/O apart
// from reading its own file.
package config
