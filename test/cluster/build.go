package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/mountwarden/mountwarden/test/cluster/internal/build"
	"github.com/mountwarden/mountwarden/test/cluster/internal/node"
)

func (a *app) buildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "build [PROGRAM...]",
		Short: "Compile the cluster's programs, or those named, and start nothing",
		RunE: func(cmd *cobra.Command, names []string) error {
			tools := build.ForCluster()
			if len(names) > 0 {
				var err error
				if tools, err = build.Find(names...); err != nil {
					return err
				}
			}
			_, err := a.build(cmd.Context(), cmd.ErrOrStderr(), tools...)
			return err
		},
	}
}

func (a *app) binCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "bin PROGRAM",
		Short: "Print the path of a program such as helm or golangci-lint, compiling it first if need be",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			tools, err := build.Find(names...)
			if err != nil {
				return err
			}
			paths, err := a.build(cmd.Context(), cmd.ErrOrStderr(), tools...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), paths[names[0]])
			return err
		},
	}
}

// build returns the path of each tool.
func (a *app) build(ctx context.Context, progress io.Writer, tools ...build.Tool) (map[string]string, error) {
	b, err := a.builder(progress)
	if err != nil {
		return nil, err
	}
	return b.Build(ctx, tools...)
}

// builder builds from the clone of the repository that we are in.
func (a *app) builder(progress io.Writer) (build.Builder, error) {
	here, err := os.Getwd()
	if err != nil {
		return build.Builder{}, fmt.Errorf("find the repository: %w", err)
	}
	modules, err := build.FindModules(here)
	if err != nil {
		return build.Builder{}, err
	}
	home, err := node.Home()
	return build.Builder{Modules: modules, Cache: a.layout.Tools(), Home: home, Progress: progress}, err
}
