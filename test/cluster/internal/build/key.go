package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// flags are the arguments of `go build` for t, apart from the output and the package. They decide
// what the build cache holds: a change here costs everyone a cold build.
func flags(t Tool, gomod []byte) ([]string, error) {
	args := []string{"-trimpath"}
	if t.Tags != "" {
		args = append(args, "-tags", t.Tags)
	}
	ldflags := "-s -w"
	if t.stamp {
		version, major, minor, err := kubernetesVersion(gomod)
		if err != nil {
			return nil, err
		}
		// Without these kube-apiserver calls itself v0.0.0, which charts with a kubeVersion refuse.
		const x = " -X k8s.io/component-base/version."
		ldflags += x + "gitVersion=" + version + x + "gitMajor=" + major + x + "gitMinor=" + minor
	}
	return append(args, "-ldflags", ldflags), nil
}

// recipe is how one program is built and the folder name under which the result is kept.
type recipe struct {
	flags []string
	key   string
}

func newRecipe(modules string, t Tool) (recipe, error) {
	dir := filepath.Join(modules, t.Module)
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return recipe{}, fmt.Errorf("read what pins %s: %w", t.Name, err)
	}
	gosum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return recipe{}, fmt.Errorf("read what pins %s: %w", t.Name, err)
	}
	args, err := flags(t, gomod)
	if err != nil {
		return recipe{}, fmt.Errorf("%s: %w", filepath.Join(dir, "go.mod"), err)
	}
	toolchain := strings.Join([]string{runtime.Version(), runtime.GOOS, runtime.GOARCH}, " ")
	h := sha256.New()
	for _, part := range []string{string(gomod), string(gosum), strings.Join(args, "\x00"), toolchain} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return recipe{flags: args, key: t.Module + "-" + hex.EncodeToString(h.Sum(nil))[:16]}, nil
}
