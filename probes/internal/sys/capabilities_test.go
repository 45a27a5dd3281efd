package sys_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

func TestEffectiveCapabilities(t *testing.T) {
	got, err := sys.EffectiveCapabilities()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("CapEff:\t%016x\n", uint64(got)); !strings.Contains(string(text), want) {
		t.Errorf("want %q of:\n%s", want, text)
	}
	if got := (sys.CapSysPtrace | sys.CapDACReadSearch).Numbers(); !slices.Equal(got, []uintptr{2, 19}) {
		t.Errorf("%v", got)
	}
}
