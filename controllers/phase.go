package controllers

import "time"

// StuckAfter is how long past its grace period a removed pod may take to end: the kubelet kills what is left, waits for the runtime
// and unmounts the volumes.
const StuckAfter = time.Minute

// Phase is a part of a remediation that takes time. The values are an API: they stand in metric labels.
type Phase string

// The phases of a remediation.
const (
	PhaseAct       Phase = "Act"       // from the first broken look until the API server accepted the removal
	PhaseTerminate Phase = "Terminate" // from the removal until the pod was gone
	PhaseHeal      Phase = "Heal"      // from the removal until a successor was healthy
	PhaseTotal     Phase = "Total"     // from the first broken look until a successor was healthy
)
