package backend

import "sync"

// maxDrivers is how many volumes' drivers are remembered.
const maxDrivers = 1024

// driverCache remembers the drivers of volumes, by the kubelet's directory of the volume. A volume
// of the same pod and name always keeps its driver. It is safe for concurrent use.
type driverCache struct {
	mu    sync.Mutex
	byDir map[string]string
}

func newDriverCache() *driverCache { return &driverCache{byDir: map[string]string{}} }

func (c *driverCache) findDriver(dir string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byDir[dir]
}

// addDriver drops all other entries when there are too many: asking again takes a few milliseconds.
func (c *driverCache) addDriver(dir, driver string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if driver == "" {
		return
	}
	if len(c.byDir) >= maxDrivers {
		clear(c.byDir)
	}
	c.byDir[dir] = driver
}
