package main

import (
	"bytes"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/mountwarden/mountwarden/config"
)

func TestMemoryLimit(t *testing.T) {
	const none = math.MaxInt64 // what SetMemoryLimit says when there is no limit
	for name, tc := range map[string]struct {
		env     map[string]string
		workers int // that may be parked
		limit   int64
		says    string
	}{
		"the chart's defaults":         {map[string]string{"MEMORY_LIMIT": "134217728"}, 64, 64 << 20, "Go may use 64 of the 128 MiB"},
		"a quantity":                   {map[string]string{"MEMORY_LIMIT": "128Mi"}, 64, 64 << 20, "Go may use 64 of the 128 MiB"},
		"twice the memory":             {map[string]string{"MEMORY_LIMIT": "256Mi"}, 64, 192 << 20, "Go may use 192 of the 256 MiB"},
		"more workers, and the memory": {map[string]string{"MEMORY_LIMIT": "256Mi"}, 192, 96 << 20, "Go may use 96 of the 256 MiB"},
		"too many workers":             {map[string]string{"MEMORY_LIMIT": "128Mi"}, 128, 64 << 20, "other 64 MiB are too few for maxWorkers 16 and maxParkedWorkers 128"},
		"far too many workers":         {map[string]string{"MEMORY_LIMIT": "128Mi"}, 4096, 64 << 20, "too few"},
		"little memory":                {map[string]string{"MEMORY_LIMIT": "64Mi"}, 64, 32 << 20, "other 32 MiB are too few"},
		"no limit":                     {nil, 64, none, "none: the container has no limit"},
		"an empty limit":               {map[string]string{"MEMORY_LIMIT": ""}, 64, none, "none: the container has no limit"},
		"GOMEMLIMIT":                   {map[string]string{"MEMORY_LIMIT": "128Mi", "GOMEMLIMIT": "200MiB"}, 64, none, "GOMEMLIMIT is 200MiB"},
		"GOMEMLIMIT alone":             {map[string]string{"GOMEMLIMIT": "off"}, 64, none, "GOMEMLIMIT is off"},
		"an empty GOMEMLIMIT":          {map[string]string{"MEMORY_LIMIT": "128Mi", "GOMEMLIMIT": ""}, 64, 64 << 20, "Go may use 64"},
	} {
		t.Run(name, func(t *testing.T) {
			before := debug.SetMemoryLimit(none)
			defer debug.SetMemoryLimit(before)
			var log bytes.Buffer
			cfg := config.Default()
			cfg.MaxParkedWorkers = tc.workers
			lookup := func(name string) (string, bool) { text, ok := tc.env[name]; return text, ok }
			if err := setMemoryLimit(logr.FromSlogHandler(slog.NewTextHandler(&log, nil)), lookup, cfg); err != nil {
				t.Fatal(err)
			}
			if got := debug.SetMemoryLimit(-1); got != tc.limit {
				t.Errorf("%d MiB, want %d", got>>20, tc.limit>>20)
			}
			if text := log.String(); !strings.Contains(text, "Memory limit") || !strings.Contains(text, tc.says) || strings.Contains(text, "too few") != strings.Contains(tc.says, "too few") {
				t.Errorf("says %q, want %q", text, tc.says)
			}
		})
	}
}

func TestWrongMemoryLimit(t *testing.T) {
	for _, value := range []string{"much", "0", "-1", "128 MiB"} {
		p := command(t, []string{"MEMORY_LIMIT=" + value}, agentArgs(t)...)
		if code := p.code(t, p.Run()); code != 2 || !strings.Contains(p.stderr.String(), `MEMORY_LIMIT: invalid value "`+value+`": must be`) {
			t.Errorf("%q: exit code %d: %s", value, code, p.stderr.String())
		}
	}
}

// What is left to the workers is what they take when there are as many as there may be.
func TestWorkersFit(t *testing.T) {
	cfg := config.Default()
	workers := int64(cfg.MaxWorkers + cfg.MaxParkedWorkers)
	for _, container := range []int64{128 << 20, 160 << 20, 1 << 30} {
		limit, enough := computeGoLimit(container, int(workers))
		if !enough || limit+workers*workerMemory+nonGoMemory > container {
			t.Errorf("%d MiB: %d for Go, enough: %v", container>>20, limit>>20, enough)
		}
	}
}
