package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeQEMU is a machine whose QEMU is a shell script that has the guest's second port as descriptor 3.
func fakeQEMU(t *testing.T, script string) Machine {
	t.Helper()
	dir := t.TempDir()
	loader := filepath.Join(dir, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
	if err := os.MkdirAll(filepath.Dir(loader), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(loader, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Machine{QEMU: dir, Kernel: "k", Initrd: "i", Disks: []string{"d"}, Console: "c", Within: time.Minute}
}

func run(t *testing.T, m Machine) (lines []string, err error) {
	t.Helper()
	err = m.Run(context.Background(), func(l string) { lines = append(lines, l) }, func(l string) bool { return l == "done" })
	return lines, err
}

func TestLinesAreHandedOn(t *testing.T) {
	lines, err := run(t, fakeQEMU(t, `printf 'one\r\n\ntwo\ndone' >&3`))
	if want := []string{"one", "two", "done"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("%q, %v", lines, err)
	}
}

// Whatever QEMU's exit status is, only the last line counts.
func TestTheLastLineCounts(t *testing.T) {
	if _, err := run(t, fakeQEMU(t, "echo one >&3; exit 0")); !errors.Is(err, ErrUnfinished) {
		t.Errorf("%v", err)
	}
	if _, err := run(t, fakeQEMU(t, "echo done >&3; exit 1")); err != nil {
		t.Errorf("%v", err)
	}
}

func TestASilentBootIsTriedAgain(t *testing.T) {
	again := filepath.Join(t.TempDir(), "again")
	lines, err := run(t, fakeQEMU(t, "[ -e "+again+" ] && echo done >&3; touch "+again))
	if err != nil || len(lines) != 2 || lines[1] != "done" || !strings.Contains(lines[0], ErrSilent.Error()) {
		t.Errorf("%q, %v", lines, err)
	}
	lines, err = run(t, fakeQEMU(t, "echo no such machine >&2; exit 1"))
	if !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "no such machine") || len(lines) != boots-1 {
		t.Errorf("%q, %v", lines, err)
	}
}

func TestTimeIsLimited(t *testing.T) {
	m := fakeQEMU(t, "echo one >&3; exec tail -f /dev/null")
	m.Within = 200 * time.Millisecond
	if _, err := run(t, m); !errors.Is(err, ErrUnfinished) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestQEMUIsThere(t *testing.T) {
	if _, err := run(t, Machine{QEMU: t.TempDir(), Within: time.Minute}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
