package e2e

import (
	"os"
	"testing"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/internal/packages"
	"github.com/mountwarden/mountwarden/test/internal/webdav"
)

// TestMain lets tests mount FUSE file systems on the node, and serve WebDAV there, whose servers are
// this program.
func TestMain(m *testing.M) {
	faultfs.MainIfChild()
	webdav.MainIfChild()
	os.Exit(m.Run())
}

// longEnv asks for as many repetitions as figures to quote need: make test-e2e LONG=1.
const longEnv = "MOUNTWARDEN_E2E_LONG"

// often is how often something is done: a few times, or many.
func often(few, many int) int {
	if os.Getenv(longEnv) != "" {
		return many
	}
	return few
}

// Without a network, as within the test cluster, it is too late to install the programs that serve
// volumes: `make test-e2e` runs this outside of the cluster first.
func TestProgramsOfTheVolumes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to install packages")
	}
	must(t, packages.Install(t.Context(), os.Stderr, volume.Packages()...))
}
