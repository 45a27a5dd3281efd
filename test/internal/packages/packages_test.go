package packages

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMissingPackagesAreNamedInOrder(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	got := Missing([]Package{{"a", no}, {"b", yes}, {"c", no}})
	if !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("got %v", got)
	}
}

func TestNoAptGet(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := install(context.Background(), io.Discard, []string{"runc", "iptables"})
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "apt-get install runc iptables") {
		t.Errorf("got %v", err)
	}
}

// fakeApt puts an apt-get in front of PATH that notes how it was called.
func fakeApt(t *testing.T, end string) (calls string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root installs packages")
	}
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$DEBIAN_FRONTEND $*\" >> " + calls + "\n" + end + "\n"
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return calls
}

func TestInstall(t *testing.T) {
	calls := fakeApt(t, "exit 0")
	var said bytes.Buffer
	if err := install(context.Background(), &said, []string{"runc", "iptables"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(calls)
	want := "noninteractive update\nnoninteractive install --yes --no-install-recommends runc iptables\n"
	if err != nil || string(got) != want {
		t.Errorf("calls: %q, %v", got, err)
	}
	if !strings.Contains(said.String(), "runc iptables") {
		t.Errorf("progress: %q", said.String())
	}
}

func TestInstallWhatIsThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // where it could only fail
	if err := Install(context.Background(), io.Discard, Package{"a", func() bool { return true }}); err != nil {
		t.Error(err)
	}
}

func TestInstallInVain(t *testing.T) {
	fakeApt(t, "exit 0")
	err := Install(context.Background(), io.Discard, Package{"a", func() bool { return false }})
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "although") {
		t.Errorf("got %v", err)
	}
}

func TestInstallFails(t *testing.T) {
	fakeApt(t, "echo the mirror is away >&2; exit 100")
	err := install(context.Background(), io.Discard, []string{"runc"})
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "the mirror is away") {
		t.Errorf("got %v", err)
	}
}
