// Package config turns what people write into two validated values: the agent's Config, and the
// Policy of one watched pod. It is Go code only; the manifests are in charts/.
//
// A Config is built in layers, each stronger than the one before: defaults, file, environment,
// flags. A Policy is built from a pod's annotations within the limits that the Config sets.
//
// Any user with write access to a pod controls its annotations, so they are read like a hostile
// file. They name the pod's own volumes and containers and never a path of the host. An invalid
// annotation does not fall back to a default: it takes away the right to act (ModeReport).
//
// Do not use it to find out where a pod runs or whether its mounts are healthy. It does no I/O
// apart from reading its own file.
package config
