package view

import (
	"strconv"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// hasOption reports whether the super block has the option.
func hasOption(m *mountinfo.Mount, name string) bool {
	for option := range strings.SplitSeq(m.SuperOptions, ",") {
		if option == name {
			return true
		}
	}
	return false
}

// isReadOnly reports whether the super block takes no writes. The kernel writes that first, before the file
// system's own options (show_mountinfo in fs/proc_namespace.c).
func isReadOnly(m *mountinfo.Mount) bool {
	first, _, _ := strings.Cut(m.SuperOptions, ",")
	return first == "ro"
}

// CountsErrors reports whether the kernel counts the file system's errors, and tells how many there were: the driver of ext4 does.
func CountsErrors(m *mountinfo.Mount) bool {
	return m.FSType == "ext4" || m.FSType == "ext3" || m.FSType == "ext2"
}

// Owner is a user and a group of the node.
type Owner struct{ UID, GID uint32 }

// AnswersOnly returns the one user that a FUSE answers; ok is false when it answers root, too. It was then mounted
// without allow_other (fs/fuse/inode.c, fuse_show_options).
func AnswersOnly(m *mountinfo.Mount) (o Owner, ok bool) {
	if !IsFUSE(m.FSType) {
		return o, false
	}
	user, group := false, false
	for option := range strings.SplitSeq(m.SuperOptions, ",") {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "allow_other":
			return Owner{}, false
		case "user_id":
			o.UID, user = id(value)
		case "group_id":
			o.GID, group = id(value)
		}
	}
	return o, user && group && o.UID != 0
}

func id(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}
