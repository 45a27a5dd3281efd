package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mountwarden/mountwarden/test/cluster/internal/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	os.Exit(exitCode(err))
}

// exitError passes on how a command inside the cluster ended; the command has said why itself.
type exitError struct{ code int }

func (e exitError) Error() string {
	return fmt.Sprintf("the command ended with exit status %d", e.code)
}

func exitCode(err error) int {
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	default:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
}

// app is what all sub-commands share.
type app struct {
	name   string
	cache  string
	layout node.Layout
}

func newCommand() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "cluster",
		Short: "Run a real one-node Kubernetes on this machine",
		Long: "Runs a real one-node Kubernetes on this machine, with no Docker and no registry.\n" +
			"The first `up` compiles Kubernetes, etcd and containerd from pinned sources, which takes\n" +
			"about 20 minutes on two cores; later ones take seconds.",
		SilenceUsage:  true,
		SilenceErrors: true,
		// So that `cluster --name x kubectl get pods -n y` gives kubectl its own flags only.
		TraverseChildren: true,
		Args:             cobra.NoArgs,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			if a.cache == "" {
				if a.cache, err = node.DefaultCache(); err != nil {
					return err
				}
			}
			a.layout, err = node.NewLayout(a.name, a.cache)
			return err
		},
	}
	root.PersistentFlags().StringVar(&a.name, "name", "mountwarden", "which cluster; several can run side by side")
	root.PersistentFlags().StringVar(&a.cache, "cache", "",
		"folder of built programs and of the cluster's state (default $MOUNTWARDEN_CACHE, else ~/.cache/mountwarden)")
	root.AddCommand(a.upCommand(), a.downCommand(), a.statusCommand(), a.buildCommand(), a.binCommand(),
		a.execCommand(), a.kubectlCommand(), a.loadCommand(), a.logsCommand(),
		a.stopCommand(), a.startCommand(), a.superviseCommand())
	return root
}
