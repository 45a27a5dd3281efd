package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs COMPONENT",
		Short: "Print the log of a component, or `supervisor`; also after `down`",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.printLog(cmd.Context(), cmd.OutOrStdout(), args[0], follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	return cmd
}

func (a *app) printLog(ctx context.Context, out io.Writer, component string, follow bool) (err error) {
	f, err := os.Open(supervise.LogFile(a.layout.Logs(), filepath.Base(component)))
	if err != nil {
		return fmt.Errorf("%w; there are logs of: %s", err, strings.Join(a.logNames(), ", "))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if _, err := io.Copy(out, f); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *app) logNames() []string {
	var names []string
	files, _ := filepath.Glob(supervise.LogFile(a.layout.Logs(), "*")) // the pattern is well-formed
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".log"))
	}
	return names
}
