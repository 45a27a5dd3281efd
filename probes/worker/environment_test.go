package worker

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// A worker is given a memory limit of its own. That of the agent would never make it collect garbage.
func TestWorkersHaveTheirOwnMemoryLimit(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "1GiB")
	n := newFakeNode(t, Options{})
	pids := n.pids()
	if len(pids) == 0 {
		t.Fatal("no worker")
	}
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		must(t, err)
		if variables := "\x00" + string(text); strings.Count(variables, "\x00GOMEMLIMIT=") != 1 || !strings.Contains(variables, "\x00GOMEMLIMIT=4MiB\x00") {
			t.Errorf("worker %d: %q", pid, text)
		}
	}
}
