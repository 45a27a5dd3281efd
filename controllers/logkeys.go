package controllers

// Log keys. They are an API: queries match on them.
const (
	KeyAction    = "action"
	KeyCause     = "cause"
	KeyContainer = "container"
	KeyDetail    = "detail"
	KeyErrno     = "errno"
	KeyFSType    = "fsType"
	KeyHeld      = "heldReason"
	KeyLooks     = "looks"
	KeyMountPath = "mountPath"
	KeyNode      = "node"
	KeyNext      = "next"
	KeyOperation = "operation"
	KeyOutcome   = "outcome"
	KeyPhase     = "phase"
	KeyPodUID    = "podUID"
	KeySince     = "since"
	KeyVolume    = "volume"
)
