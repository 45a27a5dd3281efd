package controllers

// Log keys. They are an API: queries match on them.
const (
	KeyAction     = "action"
	KeyAftermath  = "aftermath"
	KeyAvailable  = "available"
	KeyCapability = "capability"
	KeyCause      = "cause"
	KeyContainer  = "container"
	KeyDetail     = "detail"
	KeyErrno      = "errno"
	KeyHealth     = "health"
	KeyHeld       = "heldReason"
	KeyLooks      = "looks"
	KeyMountPath  = "mountPath"
	KeyNode       = "node"
	KeyOperation  = "operation"
	KeyOwner      = "owner"
	KeyPhase      = "phase"
	KeyPodUID     = "podUID"
	KeySince      = "since"
	KeySource     = "source"
	KeySuccessor  = "successor"
	KeyTook       = "took"
	KeyTrigger    = "trigger"
	KeyVolume     = "volume"
	KeyWarning    = "warning"
)
