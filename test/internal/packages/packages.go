package packages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrMissing is wrapped by the error about packages that are not installed.
var ErrMissing = errors.New("this machine lacks packages")

// Package is one Debian package and how to tell that what it is for is there.
type Package struct {
	Name  string
	There func() bool
}

// OnPath tells whether there is such a program.
func OnPath(program string) func() bool {
	return func() bool { _, err := exec.LookPath(program); return err == nil }
}

// Install installs what is missing of the packages, if it is allowed to; progress says what it installs. An error wraps
// ErrMissing and names the packages.
func Install(ctx context.Context, progress io.Writer, wanted ...Package) error {
	missing := Missing(wanted)
	if len(missing) == 0 {
		return nil
	}
	if err := install(ctx, progress, missing); err != nil {
		return err
	}
	if still := Missing(wanted); len(still) > 0 {
		return fmt.Errorf("%w: what is in %s, although the packages were installed", ErrMissing, strings.Join(still, ", "))
	}
	return nil
}

// Missing names the packages that are not there.
func Missing(wanted []Package) (names []string) {
	for _, p := range wanted {
		if !p.There() {
			names = append(names, p.Name)
		}
	}
	return names
}

// lock waits for other tests that install packages: apt-get gives up when another one runs.
func lock() (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(os.TempDir(), "mountwarden-packages.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the installation of packages: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the installation of packages: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil // closing unlocks
}

func install(ctx context.Context, progress io.Writer, names []string) error {
	list := strings.Join(names, " ")
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%w: %s (their names in Debian and Ubuntu); install them, there: sudo apt-get install %s",
			ErrMissing, list, list)
	}
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()
	fmt.Fprintf(progress, "installing the packages %s\n", list)
	steps := [][]string{{"update"}, append([]string{"install", "--yes", "--no-install-recommends"}, names...)}
	for _, args := range steps {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s, and apt-get %s failed: %w\n%s", ErrMissing, list, args[0], err, bytes.TrimSpace(out))
		}
	}
	return nil
}
