package node

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

// collectFacts returns what is known of a mount besides its line. It reads /sys
// (Documentation/ABI/testing/sysfs-fs-ext4) and /proc, which never touches the disk. What cannot be
// read counts as no error.
func (p *Prober) collectFacts(m *mountinfo.Mount, readOnly bool) view.MountFacts {
	facts := view.MountFacts{ReadOnly: readOnly}
	if !view.CountsErrors(m) {
		return facts
	}
	device, err := os.Readlink(filepath.Join(p.sysRoot, "dev/block", m.Device.String()))
	if err != nil {
		return facts
	}
	disk := ext4Dirs{filepath.Join(p.sysRoot, "fs/ext4", filepath.Base(device)), filepath.Join(p.procRoot, "fs/ext4", filepath.Base(device))}
	count := disk.readAttribute("errors_count")
	facts.Errors = count != "" && count != "0"
	facts.StopsWrites = facts.Errors && (disk.hasOption("errors=remount-ro") || disk.hasAbortedJournal())
	return facts
}

// ext4Dirs are the directories in which the kernel shows one ext4 file system.
type ext4Dirs struct{ sys, proc string }

// readAttribute returns "" when the attribute cannot be read.
func (e ext4Dirs) readAttribute(name string) string {
	text, err := os.ReadFile(filepath.Join(e.sys, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// hasOption reports whether the file system has the option, by default or by its mount. mountinfo
// leaves out options that are defaults of the super block.
func (e ext4Dirs) hasOption(option string) bool {
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

// hasAbortedJournal reports whether the last error was that a write found the journal aborted. No
// write succeeds then, whatever the option errors= says. The first such error is counted by
// ext4_journal_check_start (fs/ext4/ext4_jbd2.c), later ones have the code of EROFS (EXT4_ERR_EROFS
// in fs/ext4/ext4.h).
func (e ext4Dirs) hasAbortedJournal() bool {
	const readOnly = "8"
	return e.readAttribute("last_error_func") == "ext4_journal_check_start" || e.readAttribute("last_error_errcode") == readOnly
}
