package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// retryEvery is how often a lock that another process holds is tried again.
const retryEvery = 200 * time.Millisecond

// Acquire takes the lock on path, making the file and its folder where needed, and waits for it
// until ctx ends. waiting is called once if another process holds the lock. The lock is given back
// by release, or by the kernel when this process ends.
func Acquire(ctx context.Context, path string, waiting func()) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of lock %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock %s: %w", path, err)
	}
	if err := lock(ctx, f, waiting); err != nil {
		return nil, errors.Join(fmt.Errorf("take lock %s: %w", path, err), f.Close())
	}
	// Closing the only descriptor drops the lock; there is nothing to do if closing fails.
	return func() { _ = f.Close() }, nil
}

func lock(ctx context.Context, f *os.File, waiting func()) error {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
