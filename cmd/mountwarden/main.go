package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// exitError is an error with an exit code of its own. With a nil err nothing is printed.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(reportError(err))
	}
}

// reportError prints what went wrong and returns the exit code: 2 for a wrong command line, else
// that of the error, and 1 by default.
func reportError(err error) int {
	var exit exitError
	if !errors.As(err, &exit) {
		exit = exitError{code: 1, err: err}
	}
	if exit.err != nil {
		fmt.Fprintln(os.Stderr, "mountwarden:", exit.err)
	}
	return exit.code
}

// newUsageError returns an error for a wrong command line.
func newUsageError(err error) error {
	return exitError{code: 2, err: fmt.Errorf("%w (see --help)", err)}
}

func rejectArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return newUsageError(err)
	}
	return nil
}

func newRootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "mountwarden",
		Short:         "Finds broken mounts under running pods and has the pods replaced",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return newUsageError(fmt.Errorf("unknown command %q", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return newUsageError(err) })
	cmd.AddCommand(newAgentCommand(), newAgentsCommand(), newCheckCommand(), newStatusCommand(), newVersionCommand())
	return cmd
}
