package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mountwarden/mountwarden/controllers/agents"
)

type agentsFlags struct {
	asker  agents.Asker
	wait   time.Duration
	period time.Duration
}

func newAgentsCommand() *cobra.Command {
	flags := &agentsFlags{period: 2 * time.Second}
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "Ask every agent of the cluster whether it is healthy",
		Long: "agents asks every agent of a DaemonSet whether it can do its work; `helm test` runs it. Run it in a pod: it asks at the pods' addresses.\n" +
			"Exit code: 0 every node that should have an agent has a healthy one, 1 one has not, 2 wrong usage, 3 it could not be told.",
		Args: func(cmd *cobra.Command, args []string) error {
			return errors.Join(rejectArgs(cmd, args), flags.validateFlags())
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.run(cmd) },
	}
	cmd.Flags().StringVar(&flags.asker.Namespace, "namespace", "mountwarden", "namespace of the agents")
	cmd.Flags().StringVar(&flags.asker.DaemonSet, "daemonset", "mountwarden", "name of the agents' DaemonSet")
	cmd.Flags().DurationVar(&flags.asker.Timeout, "timeout", 5*time.Second, "time in which an agent must answer")
	cmd.Flags().DurationVar(&flags.wait, "wait", 0, "ask again until all are healthy, for at most this long")
	return cmd
}

func (f *agentsFlags) validateFlags() error {
	switch {
	case f.asker.Namespace == "" || f.asker.DaemonSet == "":
		return newUsageError(errors.New("--namespace and --daemonset must not be empty"))
	case f.asker.Timeout <= 0:
		return newUsageError(fmt.Errorf("--timeout is %s; it must be more than 0", f.asker.Timeout))
	case f.wait < 0:
		return newUsageError(fmt.Errorf("--wait is %s; it must not be negative", f.wait))
	}
	return nil
}

func (f *agentsFlags) run(cmd *cobra.Command) error {
	restConfig, err := ctrl.GetConfig()
	if err == nil {
		f.asker.Client, err = kubernetes.NewForConfig(restConfig)
	}
	if err != nil {
		return exitError{code: exitUnknown, err: fmt.Errorf("find the API server (outside a pod set KUBECONFIG): %w", err)}
	}
	report, err := f.askUntilHealthy(cmd.Context())
	if err != nil {
		return exitError{code: exitUnknown, err: err}
	}
	if err := writeAgents(cmd.OutOrStdout(), report); err != nil {
		return exitError{code: exitUnknown, err: err}
	}
	if err := report.Err(); err != nil {
		return exitError{code: exitUnhealthy, err: err}
	}
	return nil
}

// askUntilHealthy asks until all agents are healthy or the time to wait is over. It returns the
// latest report.
func (f *agentsFlags) askUntilHealthy(ctx context.Context) (agents.Report, error) {
	deadline := time.After(f.wait)
	again := time.NewTicker(f.period)
	defer again.Stop()
	for {
		report, err := f.asker.Ask(ctx)
		if f.wait == 0 || err == nil && report.Err() == nil {
			return report, err
		}
		select {
		case <-again.C:
		case <-deadline:
			return report, err
		case <-ctx.Done():
			return report, err
		}
	}
}

// writeAgents writes one line for each agent.
func writeAgents(out io.Writer, report agents.Report) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tAGENT\tSTATE") //nolint:errcheck // Flush tells
	for _, a := range report.Agents {
		state := "healthy"
		if a.Problem != "" {
			state = "unhealthy: " + a.Problem
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", a.Node, a.Pod, state) //nolint:errcheck // Flush tells
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
