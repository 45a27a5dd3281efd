package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show each component; ends with 1 unless all run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.client().Status(cmd.Context())
			if errors.Is(err, supervise.ErrDown) {
				return fmt.Errorf("%w: %s", supervise.ErrDown, a.name)
			}
			if err != nil {
				return err
			}
			if err := printStatus(cmd.OutOrStdout(), st); err != nil {
				return err
			}
			return errors.Join(failed(st), notRunning(st))
		},
	}
}

func printStatus(out io.Writer, st supervise.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COMPONENT\tSTATE\tFOR\tPID\tNOTE")
	for _, c := range st.Components {
		pid := ""
		if c.PID != 0 {
			pid = fmt.Sprint(c.PID)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Name, c.State, time.Since(c.Since).Round(time.Second), pid, c.Ended+c.NotYet)
	}
	return w.Flush()
}

var errNotRunning = errors.New("not every component is running")

func notRunning(st supervise.Status) error {
	for _, c := range st.Components {
		if c.State != supervise.Running && c.State != supervise.Died {
			return fmt.Errorf("%w: %s is %s", errNotRunning, c.Name, c.State)
		}
	}
	return nil
}

func (a *app) stopCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stop COMPONENT",
		Short: "Kill a component, as a crash would",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.client().Stop(cmd.Context(), args[0])
		},
	}
}

func (a *app) startCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "start COMPONENT",
		Short: "Start a component that was stopped or has died, and wait until it is ready",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.client().Start(cmd.Context(), args[0])
		},
	}
}
