// Command csidriver is the CSI node driver of package csidriver and all of its helper
// processes in one static binary, so that its image needs nothing else.
//
// It is a tool of tests: its volumes are there to be broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/csidriver"
	"github.com/mountwarden/mountwarden/test/csidriver/volume"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

const (
	defaultDir      = "/var/lib/kubelet/plugins/" + csidriver.Name
	defaultEndpoint = "unix://" + defaultDir + "/csi.sock"
	defaultState    = defaultDir + "/volumes"
	defaultRegistry = "/var/lib/kubelet/plugins_registry"
)

const usage = `Usage:
  csidriver serve --node-id NODE [flags]                serve CSI until SIGTERM
  csidriver probe [--endpoint SOCKET]                   end with 0 if the driver is ready
  csidriver fault [--pod POD] [--volume VOLUME] FAULT   switch the faults of one volume's FUSE server

"csidriver serve --help" lists the flags of serve. POD is NAME or NAMESPACE/NAME, VOLUME
the name of an inline volume or of a PersistentVolume, or a CSI volume id. FAULT is one of:
` + faultfs.CtlUsage + "\n"

func main() {
	os.Exit(faultfs.ExitCode(run(context.Background(), os.Args[1:], os.Stdout)))
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("no command given: %w\n%s", faultfs.ErrUsage, usage)
	}
	switch args[0] {
	case "serve":
		return serve(ctx, args[1:])
	case "fault":
		return fault(args[1:], stdout)
	case "probe":
		return probe(ctx, args[1:])
	case "fuse": // the FUSE server process, one a volume; begun by serve only
		return faultfs.ServeCommand(ctx, args[1:], stdout)
	case "help", "-h", "--help":
		_, err := fmt.Fprint(stdout, usage)
		return err
	}
	return fmt.Errorf("command %q %w\n%s", args[0], faultfs.ErrUsage, usage)
}

func serve(ctx context.Context, args []string) error {
	c := csidriver.Config{
		ServerCommand: []string{"/proc/self/exe", "fuse"},
		Log:           slog.New(slog.NewTextHandler(os.Stderr, nil)),
		ServerLog:     os.Stderr,
	}
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&c.Name, "name", csidriver.Name, "`NAME` of the driver; give each its own endpoint and state-dir")
	flags.StringVar(&c.Endpoint, "endpoint", defaultEndpoint, "CSI `SOCKET`")
	flags.StringVar(&c.NodeID, "node-id", "", "`NAME` of this node (required)")
	flags.StringVar(&c.RegistryDir, "registry-dir", defaultRegistry, "the kubelet's plugins_registry `DIR`; empty: do not register")
	flags.StringVar(&c.StateDir, "state-dir", defaultState, "`DIR` of volume records and control sockets")
	flags.BoolVar(&c.Stage, "stage", false, "stage volumes: one FUSE server a volume instead of one a target")
	if err := parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q %w: serve takes flags only", flags.Arg(0), faultfs.ErrUsage)
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	return csidriver.Run(ctx, c)
}

// probeTimeout is shorter than the readiness probe in manifests may take, so that
// a failure is told in this program's words.
const probeTimeout = 4 * time.Second

func probe(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	endpoint := flags.String("endpoint", defaultEndpoint, "CSI `SOCKET`")
	if err := parse(flags, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return csidriver.Probe(ctx, *endpoint)
}

func fault(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("fault", flag.ContinueOnError)
	state := flags.String("state-dir", defaultState, "`DIR` of the driver's volume records")
	pod := flags.String("pod", "", "`NAME` or NAMESPACE/NAME of the pod; empty for any")
	name := flags.String("volume", "", "`NAME` of the inline volume or PersistentVolume, or its CSI id; empty for any")
	if err := parse(flags, args); err != nil {
		return err
	}
	server, err := volume.Find(*state, *pod, *name)
	if err != nil {
		return err
	}
	return server.Ctl(flags.Args(), stdout)
}

// parse keeps the flag package from printing what the error says again.
func parse(flags *flag.FlagSet, args []string) error {
	var help strings.Builder
	flags.SetOutput(&help)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(help.String())
	}
	if err != nil {
		return faultfs.UsageError(err)
	}
	return nil
}
