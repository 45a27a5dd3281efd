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

func checkCommand() *cobra.Command {
	flags := &checkFlags{}
	cmd := &cobra.Command{
		Use:   "check PATH...",
		Short: "Look at mounts that this process sees",
		Long: "check looks at each PATH as this process sees it, without ever blocking on it. It needs no cluster.\n" +
			"It looks once; with --wait again until all are healthy; with --watch for ever. The latter two tell what changes, with its time.\n" +
			"Exit code: 0 all are healthy, 1 one is broken, 2 wrong usage, 3 none is broken but one could not be judged.",
		Args: func(_ *cobra.Command, args []string) error { return flags.validate(args) },
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

func (f *checkFlags) validate(paths []string) error {
	switch {
	case len(paths) == 0:
		return usage(fmt.Errorf("check needs at least one PATH"))
	case f.output != "text" && f.output != "json":
		return usage(fmt.Errorf("--output is %q; allowed are text and json", f.output))
	case f.timeout <= 0:
		return usage(fmt.Errorf("--timeout is %s; it must be more than 0", f.timeout))
	case f.period <= 0:
		return usage(fmt.Errorf("--period is %s; it must be more than 0", f.period))
	case f.wait < 0:
		return usage(fmt.Errorf("--wait is %s; it must not be negative", f.wait))
	case f.wait > 0 && f.watch:
		return usage(fmt.Errorf("--wait ends when all are healthy and --watch never ends; allowed is one of them"))
	}
	for flag, path := range map[string]string{"--canary-file": f.canary.File, "--canary-directory": f.canary.Directory} {
		if path != "" && !filepath.IsLocal(path) {
			return usage(fmt.Errorf("%s is %q; it must be a relative path below each PATH", flag, path))
		}
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
	prober, err := node.New(node.Options{WorkerPath: flags.worker, Privileged: true})
	if err != nil {
		return exitError{code: exitUnknown, err: err}
	}
	observations, err := flags.look(ctx, prober, cmd.OutOrStdout(), paths)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := prober.Close(closing); err != nil {
		cmd.PrintErrln("mountwarden:", err)
	}
	if err != nil {
		return exitError{code: exitUnknown, err: err}
	}
	if code := exitCode(observations); code != exitHealthy {
		return exitError{code: code}
	}
	return nil
}

// look looks as often as the flags say and writes what it sees. It returns what was seen last.
func (f *checkFlags) look(ctx context.Context, prober *node.Prober, out io.Writer, paths []string) ([]probes.Observation, error) {
	mounts := make([]probes.Mount, len(paths))
	for i, path := range paths {
		mounts[i] = probes.Mount{Path: path, Canary: f.canary}
	}
	if f.wait == 0 && !f.watch {
		seen := prober.ProbeSelf(ctx, mounts, f.timeout)
		return seen, write(out, f.output, seen)
	}
	deadline := time.Now().Add(f.wait)
	again := time.NewTicker(f.period)
	defer again.Stop()
	news := changes{}
	for {
		seen := prober.ProbeSelf(ctx, mounts, f.timeout)
		if ctx.Err() != nil {
			return news.last(seen), nil // cut short, it saw nothing
		}
		if err := write(out, f.output+timed, news.of(seen)); err != nil {
			return seen, err
		}
		if !f.watch && (exitCode(seen) == exitHealthy || !time.Now().Before(deadline)) {
			return seen, nil
		}
		select {
		case <-ctx.Done():
			return seen, nil
		case <-again.C:
		}
	}
}

// changes remembers what was seen last of each path.
type changes map[probes.Target]probes.Observation

// of returns the observations that tell something else than those before.
func (c changes) of(seen []probes.Observation) (news []probes.Observation) {
	for _, o := range seen {
		old, known := c[o.Target]
		if !known || old.Health != o.Health || old.Cause != o.Cause || old.Warning != o.Warning || old.Errno != o.Errno {
			news = append(news, o)
		}
		c[o.Target] = o
	}
	return news
}

// last returns what was seen before of the same paths; of one that was not seen before, what was seen now.
func (c changes) last(seen []probes.Observation) []probes.Observation {
	all := slices.Clone(seen)
	for i, o := range all {
		if old, known := c[o.Target]; known {
			all[i] = old
		}
	}
	return all
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

// timed is added to a format in which text lines begin with their time.
const timed = "-timed"

func write(out io.Writer, format string, observations []probes.Observation) error {
	format, withTime := strings.CutSuffix(format, timed)
	encoder := json.NewEncoder(out)
	for _, o := range observations {
		l := line{
			o.Finished.UTC(), o.Target.Path, o.Health.String(), o.Cause, o.Warning, probes.ErrnoName(o.Errno), o.Operation, o.FSType,
			o.Detail, o.Finished.Sub(o.Started).Seconds(),
		}
		var err error
		switch {
		case format == "json":
			err = encoder.Encode(l)
		case withTime:
			_, err = fmt.Fprintln(out, l.Time.Format(time.RFC3339), l.text())
		default:
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
