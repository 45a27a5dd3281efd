// Package helm runs the pinned helm for tests that render the chart, with no folder of the user's.
//
// Do not use it to install on the test cluster: `cluster exec` has helm and its kubeconfig.
package helm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/mountwarden/mountwarden/test/internal/tool"
)

// path is found once for all tests of a package.
var path = sync.OnceValues(func() (string, error) { return tool.Path(context.Background(), "helm") }) //nolint:gochecknoglobals // found once

// Run runs helm and returns what it printed. The error tells what it complained of.
func Run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	program, err := path()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir() // helm keeps caches and reads plugins there
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}
