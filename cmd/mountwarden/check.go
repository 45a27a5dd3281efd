package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
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
	watch   bool
	period  time.Duration
	canary  probes.Canary
	output  string
	worker  string
}

func newCheckCommand() *cobra.Command {
	flags := &checkFlags{}
	cmd := &cobra.Command{
		Use:   "check PATH...",
		Short: "Look at mounts that this process sees",
		Long: "check looks at each PATH as this process sees it, without ever blocking on it. It needs no cluster.\n" +
			"It looks once; with --wait again until all are healthy; with --watch for ever. The latter two tell what changes, with its time.\n" +
			"Exit code: 0 all are healthy, 1 one is broken, 2 wrong usage, 3 none is broken but one could not be judged.",
		Args: func(_ *cobra.Command, args []string) error { return flags.validateFlags(args) },
		RunE: func(cmd *cobra.Command, paths []string) error {
			return runCheck(cmd, flags, paths)
		},
	}
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 5*time.Second, "time in which a mount must answer")
	cmd.Flags().DurationVar(&flags.wait, "wait", 0, "look again until all are healthy, for at most this long: for an init container that holds back the app")
	cmd.Flags().BoolVar(&flags.watch, "watch", false, "look again until it is told to stop")
	cmd.Flags().DurationVar(&flags.period, "period", time.Second, "with --wait and --watch: time from one look to the next")
	cmd.Flags().StringVar(&flags.canary.File, "canary-file", "", "relative path of a file in each PATH whose first byte must be readable")
	cmd.Flags().StringVar(&flags.canary.Directory, "canary-directory", "", "relative path of a folder in each PATH whose first entries must be readable")
	cmd.Flags().StringVar(&flags.output, "output", "text", "text or json, one line each")
	cmd.Flags().StringVar(&flags.worker, "worker-path", "", "the program that touches the mounts (default: mountwarden-probe beside this program)")
	return cmd
}

func (f *checkFlags) validateFlags(paths []string) error {
	switch {
	case len(paths) == 0:
		return newUsageError(fmt.Errorf("check needs at least one PATH"))
	case f.output != "text" && f.output != "json":
		return newUsageError(fmt.Errorf("--output is %q; allowed are text and json", f.output))
	case f.timeout <= 0:
		return newUsageError(fmt.Errorf("--timeout is %s; it must be more than 0", f.timeout))
	case f.period <= 0:
		return newUsageError(fmt.Errorf("--period is %s; it must be more than 0", f.period))
	case f.wait < 0:
		return newUsageError(fmt.Errorf("--wait is %s; it must not be negative", f.wait))
	case f.wait > 0 && f.watch:
		return newUsageError(fmt.Errorf("--wait ends when all are healthy and --watch never ends; allowed is one of them"))
	}
	for flag, path := range map[string]string{"--canary-file": f.canary.File, "--canary-directory": f.canary.Directory} {
		if path != "" && !filepath.IsLocal(path) {
			return newUsageError(fmt.Errorf("%s is %q; it must be a relative path below each PATH", flag, path))
		}
	}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			return newUsageError(fmt.Errorf("PATH is %q; it must be absolute", path))
		}
	}
	return nil
}

// runCheck probes the paths and turns the result into an exit code.
func runCheck(cmd *cobra.Command, flags *checkFlags, paths []string) error {
	ctx := cmd.Context()
	prober, err := node.New(node.Options{WorkerPath: flags.worker, Privileged: true})
	if err != nil {
		return exitError{code: exitUnknown, err: err}
	}
	observations, err := flags.probePaths(ctx, prober, cmd.OutOrStdout(), paths)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := prober.Close(closing); err != nil {
		cmd.PrintErrln("mountwarden:", err)
	}
	if err != nil {
		return exitError{code: exitUnknown, err: err}
	}
	if code := chooseExitCode(observations); code != exitHealthy {
		return exitError{code: code}
	}
	return nil
}

// probePaths probes as often as the flags say and writes the results. It returns the latest
// observations.
func (f *checkFlags) probePaths(ctx context.Context, prober *node.Prober, out io.Writer, paths []string) ([]probes.Observation, error) {
	mounts := make([]probes.Mount, len(paths))
	for i, path := range paths {
		mounts[i] = probes.Mount{Path: path, Canary: f.canary}
	}
	if f.wait == 0 && !f.watch {
		seen := prober.ProbeSelf(ctx, mounts, f.timeout)
		return seen, writeResults(out, f.output, seen)
	}
	deadline := time.Now().Add(f.wait)
	again := time.NewTicker(f.period)
	defer again.Stop()
	last := lastObservations{}
	for {
		seen := prober.ProbeSelf(ctx, mounts, f.timeout)
		if ctx.Err() != nil {
			return last.restoreLast(seen), nil // these probes were interrupted
		}
		if err := writeResults(out, f.output+timedSuffix, last.recordChanges(seen)); err != nil {
			return seen, err
		}
		if !f.watch && (chooseExitCode(seen) == exitHealthy || !time.Now().Before(deadline)) {
			return seen, nil
		}
		select {
		case <-ctx.Done():
			return seen, nil
		case <-again.C:
		}
	}
}

// lastObservations has the latest observation of each path.
type lastObservations map[probes.Target]probes.Observation

// recordChanges keeps the observations and returns those that differ from the ones before.
func (c lastObservations) recordChanges(seen []probes.Observation) (changed []probes.Observation) {
	for _, o := range seen {
		old, known := c[o.Target]
		if !known || old.Health != o.Health || old.Cause != o.Cause || old.Warning != o.Warning || old.Errno != o.Errno {
			changed = append(changed, o)
		}
		c[o.Target] = o
	}
	return changed
}

// restoreLast replaces each observation by the recorded one of the same path, if there is one.
func (c lastObservations) restoreLast(seen []probes.Observation) []probes.Observation {
	all := slices.Clone(seen)
	for i, o := range all {
		if old, known := c[o.Target]; known {
			all[i] = old
		}
	}
	return all
}

// chooseExitCode returns the code of the worst observation: broken, then unknown, then healthy.
func chooseExitCode(observations []probes.Observation) int {
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

// checkResult is an observation as JSON shows it. Its keys are an API.
type checkResult struct {
	Time      time.Time        `json:"time"`
	Path      string           `json:"path"`
	Health    string           `json:"health"`
	Cause     probes.Cause     `json:"cause,omitempty"`
	Warning   probes.Warning   `json:"warning,omitempty"`
	Errno     string           `json:"errno,omitempty"`
	Operation probes.Operation `json:"operation,omitempty"`
	FSType    string           `json:"fsType,omitempty"`
	Detail    string           `json:"detail,omitempty"`
	Seconds   float64          `json:"seconds"`
}

// timedSuffix is added to a format in which text lines begin with their time.
const timedSuffix = "-timed"

// writeResults writes one line for each observation.
func writeResults(out io.Writer, format string, observations []probes.Observation) error {
	format, withTime := strings.CutSuffix(format, timedSuffix)
	encoder := json.NewEncoder(out)
	for _, o := range observations {
		l := checkResult{
			o.Finished.UTC(), o.Target.Path, o.Health.String(), o.Cause, o.Warning, probes.ErrnoName(o.Errno), o.Operation, o.FSType,
			o.Detail, o.Finished.Sub(o.Started).Seconds(),
		}
		var err error
		switch {
		case format == "json":
			err = encoder.Encode(l)
		case withTime:
			_, err = fmt.Fprintln(out, l.Time.Format(time.RFC3339), l.formatText())
		default:
			_, err = fmt.Fprintln(out, l.formatText())
		}
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	return nil
}

func (l checkResult) formatText() string {
	text := fmt.Sprintf("%q %s", l.Path, l.Health)
	for _, word := range []string{string(l.Cause), string(l.Warning)} {
		if word != "" {
			text += " " + word
		}
	}
	if l.Errno != "" {
		text += fmt.Sprintf(" (%s from %s)", l.Errno, l.Operation)
	}
	if l.Detail != "" {
		text += fmt.Sprintf(": %q", l.Detail)
	}
	return text
}
