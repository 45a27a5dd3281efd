package controllers

// Log keys. They are an API: queries match on them.
const (
	KeyAction    = "action"
	KeyAvailable = "available"
	KeyCause     = "cause"
	KeyContainer = "container"
	KeyDetail    = "detail"
	KeyErrno     = "errno"
	KeyHeld      = "heldReason"
	KeyLooks     = "looks"
	KeyMountPath = "mountPath"
	KeyNode      = "node"
	KeyOperation = "operation"
	KeyPhase     = "phase"
	KeyPodUID    = "podUID"
	KeySince     = "since"
	KeySource    = "source"
	KeyTrigger   = "trigger"
	KeyVolume    = "volume"
	KeyWarning   = "warning"
)
