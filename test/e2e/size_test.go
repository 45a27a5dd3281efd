package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Every node pulls the image and keeps the binary.
func TestTheImageIsSmall(t *testing.T) {
	const mb = 1_000_000
	if os.Getenv("CLUSTER") == "" {
		t.Skip("not in the test cluster: run `make test-e2e`")
	}
	dist := filepath.Join("..", "..", "dist")
	for file, limit := range map[string]int64{
		filepath.Join(runtime.GOARCH, "mountwarden"): 40 * mb,
		"mountwarden.tar": 20 * mb, // this architecture only, compressed
	} {
		info, err := os.Stat(filepath.Join(dist, file))
		must(t, err)
		t.Logf("%s: %.1f MB", file, float64(info.Size())/mb)
		if info.Size() > limit {
			t.Errorf("%s has %d bytes, want at most %d", file, info.Size(), limit)
		}
	}
}
