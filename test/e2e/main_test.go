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
