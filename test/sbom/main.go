package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/spdxlib"
	"github.com/spf13/cobra"
)

func main() {
	if err := newCommand().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// options are the flags as typed.
type options struct {
	name, version, created, output string
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:           "sbom --name NAME --version VERSION --created TIME --output FILE BINARY...",
		Short:         "Write what Go binaries are made of as SPDX 2.3 JSON",
		Example:       "  go run ./sbom --name mountwarden --version v1.0.0 --created 2026-01-02T03:04:05Z --output sbom.spdx.json dist/amd64/*",
		Args:          cobra.MinimumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(_ *cobra.Command, args []string) error { return o.run(args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "what the binaries are, together (required)")
	f.StringVar(&o.version, "version", "", "which version of it (required)")
	f.StringVar(&o.created, "created", "", "when, as RFC 3339; take the commit's time, so that the same binaries give the same file (required)")
	f.StringVar(&o.output, "output", "", "the file to write (required)")
	return cmd
}

func (o options) run(binaries []string) error {
	if o.name == "" || o.version == "" || o.output == "" {
		return errors.New("--name, --version and --output are required; see --help")
	}
	created, err := time.Parse(time.RFC3339, o.created)
	if err != nil {
		return fmt.Errorf("--created %q is not a time such as 2026-01-02T03:04:05Z: %w", o.created, err)
	}
	doc, err := document(o.name, o.version, created, binaries)
	if err != nil {
		return err
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		return fmt.Errorf("check the document: %w", err)
	}
	return write(o.output, doc)
}

func write(path string, doc *v2_3.Document) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(spdxjson.Write(doc, file, spdxjson.Indent(" ")), file.Close())
}
