package backend

import "sync"

// maxDrivers is of how many volumes the driver is remembered.
const maxDrivers = 1024

// drivers are those of the volumes that were asked for, by the kubelet's folder. A volume of the same pod and name keeps its driver for
// ever. It is safe for concurrent use.
type drivers struct {
	mu       sync.Mutex
	byFolder map[string]string
}

func newDrivers() *drivers { return &drivers{byFolder: map[string]string{}} }

func (d *drivers) of(folder string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byFolder[folder]
}

// note forgets all others when there are too many: to ask again costs some milliseconds.
func (d *drivers) note(folder, driver string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if driver == "" {
		return
	}
	if len(d.byFolder) >= maxDrivers {
		clear(d.byFolder)
	}
	d.byFolder[folder] = driver
}
