package host

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
