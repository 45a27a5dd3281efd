package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
)

// Exit codes of check.
const (
	exitHealthy   = 0
	exitUnhealthy = 1
	exitUnknown   = 3
)

type checkFlags struct {
	timeout time.Duration
	wait    time.Duration
	output  string
	worker  string
}

func checkCommand() *cobra.Command {
	flags := &checkFlags{}
	cmd := &cobra.Command{
		Use:   "check PATH...",
		Short: "Look once at mounts that this process sees",
		Long: "check looks at each PATH as this process sees it, without ever blocking on it. It needs no cluster.\n" +
			"Exit code: 0 all are healthy, 1 one is broken, 2 wrong usage, 3 none is broken but one could not be judged.",
		Args: func(_ *cobra.Command, args []string) error { return flags.validate(args) },
		RunE: func(cmd *cobra.Command, paths []string) error {
			return runCheck(cmd, flags, paths)
		},
	}
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 5*time.Second, "time in which a mount must answer")
	cmd.Flags().DurationVar(&flags.wait, "wait", 0, "look again until all are healthy, for at most this long: for an init container that holds back the app")
	cmd.Flags().StringVar(&flags.output, "output", "text", "text or json")
	cmd.Flags().StringVar(&flags.worker, "worker-path", "", "the program that touches the mounts (default: mountwarden-probe beside this program)")
	return cmd
}

func (f *checkFlags) validate(paths []string) error {
	switch {
	case len(paths) == 0:
		return usage(fmt.Errorf("check needs at least one PATH"))
	case f.output != "text" && f.output != "json":
		return usage(fmt.Errorf("--output is %q; allowed are text and json", f.output))
	case f.timeout <= 0:
		return usage(fmt.Errorf("--timeout is %s; it must be more than 0", f.timeout))
	case f.wait < 0:
		return usage(fmt.Errorf("--wait is %s; it must not be negative", f.wait))
	}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			return usage(fmt.Errorf("PATH is %q; it must be absolute", path))
		}
	}
	return nil
}

func runCheck(cmd *cobra.Command, flags *checkFlags, paths []string) error {
	ctx := cmd.Context()
	prober, err := node.New(node.Options{WorkerPath: flags.worker})
	if err != nil {
		return exitError{code: exitUnknown, err: err}
	}
	observations := look(ctx, prober, flags, paths)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := prober.Close(closing); err != nil {
		cmd.PrintErrln("mountwarden:", err)
	}
	if err := write(cmd.OutOrStdout(), flags.output, observations); err != nil {
		return exitError{code: exitUnknown, err: err}
	}
	if code := exitCode(observations); code != exitHealthy {
		return exitError{code: code}
	}
	return nil
}

// look looks once or, with --wait, every second until all are healthy or the time is up.
func look(ctx context.Context, prober *node.Prober, flags *checkFlags, paths []string) []probes.Observation {
	deadline := time.Now().Add(flags.wait)
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		observations := prober.ProbeSelf(ctx, paths, flags.timeout)
		if exitCode(observations) == exitHealthy || !time.Now().Before(deadline) {
			return observations
		}
		select {
		case <-ctx.Done():
			return observations
		case <-again.C:
		}
	}
}

// exitCode is the worst of the observations: broken, then unknown, then healthy.
func exitCode(observations []probes.Observation) int {
	code := exitHealthy
	for _, o := range observations {
		switch {
		case o.Health == probes.Broken:
			return exitUnhealthy
		case o.Health != probes.Healthy:
			code = exitUnknown
		}
	}
	return code
}

// line is an observation as JSON shows it; its keys are an API.
type line struct {
	Path      string           `json:"path"`
	Health    string           `json:"health"`
	Cause     probes.Cause     `json:"cause,omitempty"`
	Errno     string           `json:"errno,omitempty"`
	Operation probes.Operation `json:"operation,omitempty"`
	FSType    string           `json:"fsType,omitempty"`
	Detail    string           `json:"detail,omitempty"`
	Seconds   float64          `json:"seconds"`
}

func write(out io.Writer, format string, observations []probes.Observation) error {
	encoder := json.NewEncoder(out)
	for _, o := range observations {
		l := line{o.Target.Path, o.Health.String(), o.Cause, probes.ErrnoName(o.Errno), o.Operation, o.FSType, o.Detail, o.Finished.Sub(o.Started).Seconds()}
		var err error
		if format == "json" {
			err = encoder.Encode(l)
		} else {
			_, err = fmt.Fprintln(out, l.text())
		}
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	return nil
}

func (l line) text() string {
	text := fmt.Sprintf("%q %s", l.Path, l.Health)
	if l.Cause != probes.CauseNone {
		text += " " + string(l.Cause)
	}
	if l.Errno != "" {
		text += fmt.Sprintf(" (%s from %s)", l.Errno, l.Operation)
	}
	if l.Detail != "" {
		text += fmt.Sprintf(": %q", l.Detail)
	}
	return text
}
