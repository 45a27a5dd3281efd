package node

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

// countsErrors reports whether the kernel has counted errors of the file system, where that matters. It reads text of
// /sys (Documentation/ABI/testing/sysfs-fs-ext4), which never touches the disk. What cannot be read counts as none.
func (p *Prober) countsErrors(m *mountinfo.Mount) bool {
	if !view.CountsErrors(m) {
		return false
	}
	disk, err := os.Readlink(filepath.Join(p.sysRoot, "dev/block", m.Device.String()))
	if err != nil {
		return false
	}
	text, err := os.ReadFile(filepath.Join(p.sysRoot, "fs/ext4", filepath.Base(disk), "errors_count"))
	count := strings.TrimSpace(string(text))
	return err == nil && count != "" && count != "0"
}
