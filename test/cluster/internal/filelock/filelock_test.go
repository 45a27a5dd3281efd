package filelock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func mustNotWait(t *testing.T) func() {
	return func() { t.Error("it says that it waits for a free lock") }
}

func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "lock")
	release, err := Acquire(context.Background(), path, mustNotWait(t))
	if err != nil {
		t.Fatal(err)
	}
	waiting, taken := make(chan struct{}), make(chan error)
	go func() {
		second, err := Acquire(context.Background(), path, func() { close(waiting) })
		if err == nil {
			second()
		}
		taken <- err
	}()
	<-waiting
	select {
	case err := <-taken:
		t.Fatalf("taken twice: %v", err)
	default:
	}
	release()
	if err := <-taken; err != nil {
		t.Errorf("not taken after its release: %v", err)
	}
	third, err := Acquire(context.Background(), path, mustNotWait(t))
	if err != nil {
		t.Fatal(err)
	}
	third()
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := Acquire(context.Background(), path, mustNotWait(t))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(context.Background(), 3*retryEvery)
	defer cancel()
	waited := 0
	if _, err := Acquire(ctx, path, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) || waited != 1 {
		t.Errorf("got %v, said %d times that it waits", err, waited)
	}
}

func TestUnusablePath(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, path := range []string{"/proc/self/none/lock", t.TempDir()} {
		if _, err := Acquire(ctx, path, mustNotWait(t)); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}
