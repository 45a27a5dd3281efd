package controllers

import "time"

// StuckAfter is how long past its grace period a deleted pod may take to end. In that time the
// kubelet kills what is left, waits for the runtime and unmounts the volumes.
const StuckAfter = time.Minute

// Phase is a part of a remediation whose duration is measured. The values are an API: they are
// metric labels. It is not the phase of a mount, which is verdict.Phase.
type Phase string

// The phases of a remediation.
const (
	PhaseAct       Phase = "Act"       // from the first broken observation until the API server accepted the eviction
	PhaseTerminate Phase = "Terminate" // from the eviction until the pod was gone
	PhaseHeal      Phase = "Heal"      // from the eviction until a replacement pod was healthy
	PhaseTotal     Phase = "Total"     // from the first broken observation until a replacement pod was healthy
)
