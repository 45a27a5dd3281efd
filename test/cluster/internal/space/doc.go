// Package space gives a cluster a mount, network and pid namespace of its own and lets commands in.
//
// It leans on namespaces(7): what is mounted, configured or started inside is gone when the last
// process inside is, and killing pid 1 kills them all. Folders of the host that Kubernetes writes to
// are covered: /run by a tmpfs, /var/lib and /var/log by an overlay whose changes land in the
// cluster's own folder. Nothing else is hidden: this is to keep tests tidy, not to keep anyone in.
package space
