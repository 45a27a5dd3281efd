package view

import (
	"strconv"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// hasSuperOption reports whether the super block has the option.
func hasSuperOption(m *mountinfo.Mount, name string) bool {
	for option := range strings.SplitSeq(m.SuperOptions, ",") {
		if option == name {
			return true
		}
	}
	return false
}

// isReadOnly reports whether the super block takes no writes. The kernel writes that option first,
// before the file system's own (show_mountinfo in fs/proc_namespace.c).
func isReadOnly(m *mountinfo.Mount) bool {
	first, _, _ := strings.Cut(m.SuperOptions, ",")
	return first == "ro"
}

// CountsErrors reports whether the kernel counts the file system's errors and shows the count: the
// ext4 driver does.
func CountsErrors(m *mountinfo.Mount) bool {
	return m.FSType == "ext4" || m.FSType == "ext3" || m.FSType == "ext2"
}

// User is a user and a group of the node.
type User struct{ UID, GID uint32 }

// OnlyAllowedUser returns the one user that a FUSE file system answers, if it was mounted without
// allow_other (fuse_show_options in fs/fuse/inode.c). ok is false when it answers root, too.
func OnlyAllowedUser(m *mountinfo.Mount) (o User, ok bool) {
	if !IsFUSE(m.FSType) {
		return o, false
	}
	user, group := false, false
	for option := range strings.SplitSeq(m.SuperOptions, ",") {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "allow_other":
			return User{}, false
		case "user_id":
			o.UID, user = parseID(value)
		case "group_id":
			o.GID, group = parseID(value)
		}
	}
	return o, user && group && o.UID != 0
}

func parseID(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}
