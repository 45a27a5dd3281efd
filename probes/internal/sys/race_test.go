package sys_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// Another program renames files all the time: a path with ".." is opened all the same.
func TestDotDotWhileFilesAreRenamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := sys.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(root)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() { stopped <- renameUntil(stop, filepath.Join(dir, "a"), filepath.Join(dir, "b")) }()
	for range 20000 {
		fd, err := sys.OpenBeneath(root, "folder/../folder/../file")
		if err != nil {
			t.Error(err)
			break
		}
		sys.Close(fd)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func renameUntil(stop <-chan struct{}, a, b string) error {
	if err := os.WriteFile(a, nil, 0o600); err != nil {
		return err
	}
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := os.Rename(a, b); err != nil {
			return err
		}
		a, b = b, a
	}
}
