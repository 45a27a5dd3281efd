package tool

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Path returns where the program is, compiling it if need be, which takes minutes the first time. An environment variable
// named after it (HELM, GOLANGCI_LINT) names another build of it.
func Path(ctx context.Context, name string) (string, error) {
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	module, err := output(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/mountwarden/mountwarden/test"))
	if err != nil {
		return "", err
	}
	cluster := exec.CommandContext(ctx, "go", "run", "./cluster", "bin", name)
	cluster.Dir = filepath.Clean(module)
	path, err := output(cluster)
	if err != nil {
		return "", fmt.Errorf("build %s (or set %s to one): %w", name, variable, err)
	}
	return path, nil
}

// output runs a command and returns what it printed, without the last line's end.
func output(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
