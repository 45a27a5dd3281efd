package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// sleeper is a process to put into a group; the test's end kills it at the latest.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func join(hierarchy, name string, cmd *exec.Cmd) error {
	pid := strconv.Itoa(cmd.Process.Pid)
	return os.WriteFile(filepath.Join(hierarchy, name, "cgroup.procs"), []byte(pid), 0o644)
}
