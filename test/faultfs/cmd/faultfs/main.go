// Command faultfs serves a FUSE file system and switches its faults.
//
// It is package faultfs on the command line; see there for what it leans on. It is a
// tool of tests: do not keep data in it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

const usage = `Usage:
  faultfs serve --mountpoint DIR --control SOCKET [flags]   mount, print "ready", serve until SIGTERM
  faultfs ctl --control SOCKET FAULT                        switch the faults of a server

"faultfs serve --help" lists the flags of serve. FAULT is one of:
` + faultfs.CtlUsage + "\n"

func main() {
	os.Exit(faultfs.ExitCode(run(os.Args[1:])))
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command given: %w\n%s", faultfs.ErrUsage, usage)
	}
	switch args[0] {
	case "serve":
		return faultfs.ServeCommand(context.Background(), args[1:], os.Stdout)
	case "ctl":
		return ctl(args[1:])
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	}
	return fmt.Errorf("command %q %w\n%s", args[0], faultfs.ErrUsage, usage)
}

func ctl(args []string) error {
	flags := flag.NewFlagSet("ctl", flag.ContinueOnError)
	control := flags.String("control", "", "`SOCKET` of the server")
	if err := flags.Parse(args); err != nil {
		return faultfs.UsageError(err)
	}
	if *control == "" {
		return fmt.Errorf("--control %w: it must name the server's socket", faultfs.ErrUsage)
	}
	return faultfs.NewClient(*control).Ctl(flags.Args(), os.Stdout)
}
