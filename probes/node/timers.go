package node

import (
	"time"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// timerSlack is far below the shortest time that an agent waits for. It spares a fifth of what the looks cost (docs/adr/0016).
const timerSlack = 2 * time.Millisecond

// RelaxTimers lets the timers of this process be late by up to two milliseconds, for good, so that a Prober costs less. Where the
// kernel refuses it, it only costs more.
func RelaxTimers() { _ = sys.RelaxTimers(timerSlack) }
