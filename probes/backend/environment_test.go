package backend

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The memory limit of the agent is not that of a program that it starts.
func TestProgramInheritsNoMemoryLimit(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "1GiB")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := startProgram(self)
	if err != nil {
		t.Fatal(err)
	}
	defer c.killAndReap()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.process.Pid))
	if err != nil || len(text) == 0 || strings.Contains(string(text), "GOMEMLIMIT") {
		t.Errorf("%q, %v", text, err)
	}
}
