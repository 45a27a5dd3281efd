package sys_test

import (
	"os"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

func TestSharedMemory(t *testing.T) {
	fd, err := sys.SharedMemory("test", 5000)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "test")
	a, err := sys.Map(fd, 5000)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Unmap(a)
	b, err := sys.Map(fd, 5000)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Unmap(b)
	a[4999] = 7
	if b[4999] != 7 || len(b) != 5000 {
		t.Error("the memory is not shared")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("the memory can be taken away")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if b[4999] != 7 {
		t.Error("the memory went with its descriptor")
	}
}

func TestMonotonic(t *testing.T) {
	before, began := sys.Monotonic(), time.Now()
	after := sys.Monotonic()
	if took := time.Since(began); before <= 0 || after < before || after-before > took+time.Millisecond {
		t.Errorf("%s to %s within %s", before, after, took)
	}
}
