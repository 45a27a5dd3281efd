package faultfs

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
)

// childEnv marks a process that Start began by running this program again.
const childEnv = "FAULTFS_CHILD"

// MainIfChild makes this process a FUSE server and never returns, if Start began it
// as one; else it does nothing. It is the first line of TestMain, before flags are
// parsed:
//
//	func TestMain(m *testing.M) {
//		faultfs.MainIfChild()
//		os.Exit(m.Run())
//	}
func MainIfChild() {
	if os.Getenv(childEnv) == "" {
		return
	}
	os.Exit(ExitCode(ServeCommand(context.Background(), os.Args[1:], os.Stdout))) //nolint:forbidigo // this is the main of the child
}

// ExitCode reports err on stderr and gives the exit status of a command that ended
// with it: 0 for none or a request for help, 2 for an ErrUsage, 1 for all others.
func ExitCode(err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	if errors.Is(err, ErrUsage) {
		return 2
	}
	return 1
}
