package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mountwarden/mountwarden/test/image/oci"
)

const help = `Packs static binaries into an OCI image-layout tarball, FROM scratch.

Each FILE is SOURCE:PATH or SOURCE:PATH:MODE, for example bin/agent:/agent or
conf.yaml:/etc/conf.yaml:0600. Without MODE a file that anyone may execute becomes
0755 and any other 0644. Owner is root, every time stamp is 1970-01-01: the same
input gives the same digest.

--platform OS/ARCH[=DIR] may be given more than once; the result is then one
multi-platform image. A relative SOURCE is looked up in that platform's DIR.
Without --platform the image is for linux on this machine's architecture.`

const example = `  go run ./image --ref mountwarden:dev --output mountwarden.tar --platform linux/amd64 \
    --entrypoint /mountwarden --user 0 bin/mountwarden:/mountwarden
  go run ./image --ref mountwarden:dev --output mountwarden.tar --entrypoint /mountwarden \
    --platform linux/amd64=bin/amd64 --platform linux/arm64=bin/arm64 mountwarden:/mountwarden`

func main() {
	if err := newCommand().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// options are the flags as typed.
type options struct {
	image     oci.Image
	output    string
	platforms []string
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:           "image --ref NAME:TAG --output FILE.tar [flags] SOURCE:PATH[:MODE]...",
		Short:         "Pack static binaries into a container image",
		Long:          help,
		Example:       example,
		Args:          cobra.MinimumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          o.run,
	}
	f := cmd.Flags()
	f.StringVar(&o.image.Ref, "ref", "", "the name that pods use, for example mountwarden:dev (required)")
	f.StringVar(&o.output, "output", "", "the tarball to write (required)")
	f.StringArrayVar(&o.platforms, "platform", nil, "OS/ARCH or OS/ARCH=DIR; repeat for several")
	f.StringArrayVar(&o.image.Entrypoint, "entrypoint", nil, "the program to start; repeat for its fixed arguments")
	f.StringArrayVar(&o.image.Cmd, "cmd", nil, "default arguments, which a pod's args replace; repeat for several")
	f.StringArrayVar(&o.image.Env, "env", nil, "KEY=VALUE; repeat for several")
	f.StringVar(&o.image.User, "user", "", "user to run as: a number, or UID:GID")
	f.StringToStringVar(&o.image.Labels, "label", nil, "KEY=VALUE; repeat for several")
	return cmd
}

func (o *options) run(cmd *cobra.Command, args []string) error {
	if o.image.Ref == "" || o.output == "" {
		return errors.New("--ref and --output are required; see --help")
	}
	if len(o.platforms) == 0 {
		o.platforms = []string{oci.Native()}
	}
	for _, p := range o.platforms {
		name, dir, _ := strings.Cut(p, "=")
		files, err := oci.ReadFiles(dir, args)
		if err != nil {
			return fmt.Errorf("platform %s: %w", name, err)
		}
		o.image.Platforms = append(o.image.Platforms, oci.Platform{Name: name, Files: files})
	}
	digest, err := oci.Write(o.output, o.image)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n", o.output, o.image.Ref, digest)
	return err
}
