package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// toggleAfter is longer than the agent needs to probe the file, at a period of a second.
const toggleAfter = 8 * time.Second

// toggleFile makes the file and removes it, again and again. When the file is the canary of its own
// pod, the tenant has the pod evicted so, whenever it wants: the agent takes a canary that it has
// read once and that is gone for a failed mount.
func toggleFile(ctx context.Context, path string, out io.Writer) error {
	tick := time.NewTicker(toggleAfter)
	defer tick.Stop()
	for round := 0; ; round++ {
		if err := os.WriteFile(path, []byte("alive"), 0o600); err != nil {
			return err
		}
		if !awaitTick(ctx, tick) {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		if round == 0 {
			fmt.Fprintln(out, UnderWay)
		}
		if !awaitTick(ctx, tick) {
			return nil
		}
	}
}

// awaitTick reports whether the ticker has ticked before ctx ended.
func awaitTick(ctx context.Context, tick *time.Ticker) bool {
	select {
	case <-ctx.Done():
		return false
	case <-tick.C:
		return true
	}
}
