package main

import (
	"fmt"
	"runtime/debug"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

const (
	// memoryVariable has the memory limit of the container. The chart takes it from the downward
	// API.
	memoryVariable = "MEMORY_LIMIT"
	// workerMemory is what one worker adds to the container. 64 workers that waited for hung mounts
	// added 719 KiB each, page tables and kernel stacks included.
	workerMemory = 768 << 10
	// nonGoMemory is for what Go's limit does not count (runtime/debug.SetMemoryLimit): the data of
	// the executable, the kernel's memory for this process, a program that asks a backend.
	nonGoMemory = 4 << 20
	// goMemoryFloor lets Go collect garbage as rarely as without a limit. With 1,100 mounts Go
	// takes 36 MiB.
	goMemoryFloor = 64 << 20
)

// setMemoryLimit tells Go how much of the container's memory it may use, unless GOMEMLIMIT does.
// Near its limit Go collects garbage more often, instead of growing until the kernel kills the
// container.
func setMemoryLimit(log logr.Logger, lookupEnv func(string) (string, bool), cfg config.Config) error {
	if own, _ := lookupEnv("GOMEMLIMIT"); own != "" {
		log.Info("Memory limit", controllers.KeyDetail, "GOMEMLIMIT is "+own)
		return nil
	}
	container, err := readContainerLimit(lookupEnv)
	if err != nil {
		return err
	}
	if container == 0 {
		log.Info("Memory limit", controllers.KeyDetail, "none: the container has no limit")
		return nil
	}
	limit, enough := computeGoLimit(container, cfg.MaxWorkers+cfg.MaxParkedWorkers)
	debug.SetMemoryLimit(limit)
	log.Info("Memory limit", controllers.KeyDetail, fmt.Sprintf("Go may use %d of the %d MiB of the container", limit>>20, container>>20))
	if !enough {
		log.Info("Memory limit", controllers.KeyWarning, fmt.Sprintf("the other %d MiB are too few for maxWorkers %d and maxParkedWorkers %d: "+
			"raise resources.limits.memory of the chart, or lower these", (container-limit)>>20, cfg.MaxWorkers, cfg.MaxParkedWorkers))
	}
	return nil
}

// readContainerLimit returns the memory limit of the container in bytes, and 0 when it has none.
func readContainerLimit(lookupEnv func(string) (string, bool)) (int64, error) {
	text, _ := lookupEnv(memoryVariable)
	if text == "" {
		return 0, nil
	}
	limit, err := resource.ParseQuantity(text)
	if err != nil || limit.Value() <= 0 {
		return 0, fmt.Errorf("environment variable %s: invalid value %q: must be a quantity of bytes, such as 128Mi", memoryVariable, text)
	}
	return limit.Value(), nil
}

// computeGoLimit returns how many bytes of the container Go may use, and whether the rest is enough
// for all workers. The limit has a floor: there are rarely as many workers as there may be, and
// with less memory than it needs Go would use CPU all the time.
func computeGoLimit(container int64, workers int) (limit int64, enough bool) {
	floor := min(goMemoryFloor, container/2)
	limit = container - int64(workers)*workerMemory - nonGoMemory
	return max(limit, floor), limit >= floor
}
