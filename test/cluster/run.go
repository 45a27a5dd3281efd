package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/cluster/internal/space"
	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

func (a *app) execCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "exec -- COMMAND [ARG...]",
		Short: "Run a command in the cluster's namespaces, with KUBECONFIG set and its programs in PATH",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.passThrough(cmd, args)
		},
	}
}

func (a *app) kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl [ARG...]",
		Short: "Run kubectl as the cluster's administrator (--name and --cache come before `kubectl`)",
		// Every flag after `kubectl` is kubectl's.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			args = append([]string{filepath.Join(a.layout.Bin(), "kubectl")}, args...)
			return a.passThrough(cmd, args)
		},
	}
}

// passThrough runs a command inside the cluster as if it had been called here.
func (a *app) passThrough(cmd *cobra.Command, args []string) error {
	err := a.runInside(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exitError{exit.ExitCode()}
	}
	return err
}

func (a *app) loadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "load IMAGE.tar...",
		Short: "Give image tarballs to the node; pods use them with imagePullPolicy: Never",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, tarballs []string) error {
			return a.load(cmd.Context(), cmd.OutOrStdout(), tarballs)
		},
	}
}

func (a *app) load(ctx context.Context, out io.Writer, tarballs []string) error {
	for _, tarball := range tarballs {
		path, err := filepath.Abs(tarball)
		if err != nil {
			return fmt.Errorf("load %s: %w", tarball, err)
		}
		ctr := []string{filepath.Join(a.layout.Bin(), "ctr"), "--address", a.layout.ContainerdSocket(),
			"--namespace", "k8s.io", "images", "import", path}
		// What ctr says is its progress and its opinion of the machine; it matters if it fails.
		var said bytes.Buffer
		if err := a.runInside(ctx, nil, &said, &said, ctr); err != nil {
			return fmt.Errorf("load %s: %w\n%s", tarball, err, said.Bytes())
		}
		fmt.Fprintf(out, "loaded %s\n", tarball)
	}
	return nil
}

// runInside runs a command in the cluster's namespaces and in the folder we are in.
func (a *app) runInside(ctx context.Context, in io.Reader, out, errs io.Writer, args []string) (err error) {
	_, pidfd, err := a.client().PID(ctx)
	if errors.Is(err, supervise.ErrDown) {
		return fmt.Errorf("%w: %s; start it with `up`", err, a.name)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(pidfd)) }()
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	path := a.layout.Bin() + ":" + os.Getenv("PATH")
	cmd := exec.CommandContext(ctx, a.lookUp(args[0]), args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = here
	cmd.Env = append(insideEnv(os.Environ()), "KUBECONFIG="+a.layout.Kubeconfig(), "PATH="+path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	return space.Run(ctx, pidfd, cmd)
}

// lookUp prefers the cluster's own programs to those of PATH.
func (a *app) lookUp(name string) string {
	own := filepath.Join(a.layout.Bin(), name)
	if _, err := os.Stat(own); err == nil && filepath.Base(name) == name {
		return own
	}
	return name
}

// insideEnv is env without what names a proxy: from inside the cluster none can be reached.
func insideEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return strings.HasSuffix(strings.ToLower(key), "_proxy")
	})
}
