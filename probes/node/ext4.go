package node

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

// traits are what is known of a mount beside its line. It reads text of /sys (Documentation/ABI/testing/sysfs-fs-ext4) and of /proc, which
// never touches the disk. What cannot be read counts as no error.
func (p *Prober) traits(m *mountinfo.Mount, readOnly bool) view.MountFacts {
	t := view.MountFacts{ReadOnly: readOnly}
	if !view.CountsErrors(m) {
		return t
	}
	device, err := os.Readlink(filepath.Join(p.sysRoot, "dev/block", m.Device.String()))
	if err != nil {
		return t
	}
	disk := ext4{filepath.Join(p.sysRoot, "fs/ext4", filepath.Base(device)), filepath.Join(p.procRoot, "fs/ext4", filepath.Base(device))}
	count := disk.attribute("errors_count")
	t.Errors = count != "" && count != "0"
	t.StopsWrites = t.Errors && (disk.hasOption("errors=remount-ro") || disk.hasLostItsJournal())
	return t
}

// ext4 is where the kernel tells of one file system.
type ext4 struct{ sys, proc string }

// attribute is "" when it cannot be read.
func (e ext4) attribute(name string) string {
	text, err := os.ReadFile(filepath.Join(e.sys, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// hasOption reports whether the file system has the option, by default or by its mount. mountinfo leaves out the defaults of the super block.
func (e ext4) hasOption(option string) bool {
	f, err := os.Open(filepath.Join(e.proc, "options")) //nolint:gosec // a file of /proc
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if lines.Text() == option {
			return true
		}
	}
	return false
}

// hasLostItsJournal reports whether the last error was that a write found the journal aborted: whatever the option errors= says, no
// write gets past that. The first one is counted by the function that looks (fs/ext4/ext4_jbd2.c), later ones have the code of EROFS (EXT4_ERR_EROFS
// in fs/ext4/ext4.h).
func (e ext4) hasLostItsJournal() bool {
	const readOnly = "8"
	return e.attribute("last_error_func") == "ext4_journal_check_start" || e.attribute("last_error_errcode") == readOnly
}
