package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// Monotonic returns the time of CLOCK_MONOTONIC, which all processes of a time namespace share. It
// never blocks.
func Monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // this clock always exists
	return time.Duration(now.Nano())
}

// RelaxTimers lets all threads of this process oversleep by up to slack when they sleep or wait
// with a timeout (PR_SET_TIMERSLACK of prctl(2), 50 µs by default), so that the kernel wakes them
// less often. In a cgo program the answer is ENOTSUP. It never blocks.
func RelaxTimers(slack time.Duration) error {
	return callAllThreads(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()))
}
