package e2e

import (
	"os"
	"testing"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

// TestMain lets tests mount FUSE file systems on the node, whose servers are this program.
func TestMain(m *testing.M) {
	faultfs.MainIfChild()
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
