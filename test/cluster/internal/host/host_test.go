package host

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
	got := missingPackages([]pkg{{"a", no}, {"b", yes}, {"c", no}})
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

func TestInstallFails(t *testing.T) {
	fakeApt(t, "echo the mirror is away >&2; exit 100")
	err := install(context.Background(), io.Discard, []string{"runc"})
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "the mirror is away") {
		t.Errorf("got %v", err)
	}
}

func TestDynamicBusyboxWillNotDo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if got := staticBusybox(); got != "" {
		t.Errorf("found %s where there is none", got)
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{"a dynamic program": shell, "a script": []byte("#!/bin/sh\n")} {
		if err := os.WriteFile(filepath.Join(dir, "busybox"), content, 0o755); err != nil {
			t.Fatal(err)
		}
		if got := staticBusybox(); got != "" {
			t.Errorf("%s passes as a static busybox", what)
		}
	}
}

func TestCheckFuse(t *testing.T) {
	if err := checkFuse(os.DevNull); err != nil { // any character device
		t.Error(err)
	}
	plain := filepath.Join(t.TempDir(), "fuse")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{plain, "/no/such/device"} {
		if err := checkFuse(device); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), device) {
			t.Errorf("%s: %v", device, err)
		}
	}
}

func TestCheckNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("runs as root")
	}
	if err := Check(t.TempDir()); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "root") {
		t.Errorf("got %v", err)
	}
}

func TestCheckLeavesNoTrace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes namespaces: needs root")
	}
	scratch := t.TempDir()
	if err := checkNamespaces(scratch); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(scratch)
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(scratch)) {
		t.Errorf("the overlay shows on the host: %v", err)
	}
}

func TestOverlayOnAnUnfitFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts: needs root")
	}
	if err := tryOverlay("/proc/self/none"); err == nil {
		t.Error("no error for a folder that is not there")
	}
}
