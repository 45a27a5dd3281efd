package node

import (
	"time"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// timerSlack is far below the shortest time that an agent waits for. It saves a fifth of what
// probes cost (docs/adr/0016).
const timerSlack = 2 * time.Millisecond

// RelaxTimers lets the timers of this process fire up to two milliseconds late, for as long as it
// runs, so that a Prober costs less. If the kernel refuses, it only costs more.
func RelaxTimers() { _ = sys.RelaxTimers(timerSlack) }
