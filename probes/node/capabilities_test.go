package node

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Whatever this process may do, Capabilities agrees with the kernel.
func TestCapabilities(t *testing.T) {
	text, err := os.ReadFile("/proc/thread-self/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "CapEff:")
	var effective uint64
	_, err = fmt.Sscanf(rest, "%x", &effective)
	must(t, err)
	all, err := Capabilities()
	must(t, err)
	numbers := map[string]int{"DAC_READ_SEARCH": 2, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_PTRACE": 19} // of capabilities(7)
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
		if want := effective>>numbers[c.Name]&1 == 1; c.Held != want || c.Loses == "" {
			t.Errorf("%+v, want held %t", c, want)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"DAC_READ_SEARCH", "KILL", "SETGID", "SETUID", "SYS_PTRACE"}) {
		t.Errorf("%v", names)
	}
}
