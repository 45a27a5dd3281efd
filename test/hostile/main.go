package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// UnderWay is the line that an attack prints when it is under way.
const UnderWay = "under way"

const usage = `usage:
  hostile fill FILE          make FILE and remove it, again and again
  hostile freeze FILE        have the kernel write the events of many epoll sets to memory of files FILE-0, FILE-1, ...
  hostile http ADDRESS...    send headers that never end to each ADDRESS, over many connections
  hostile memory DIRECTORY   make a mount table as long as the agent reads; needs its own user and mount namespace`

var errUsage = errors.New(usage)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

// run makes the attack that the first argument names, until ctx ends. The error wraps errUsage
// where the arguments are not of the form of usage.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) < 2 {
		return errUsage
	}
	name, targets := args[0], args[1:]
	if name == "http" {
		return holdConnections(ctx, targets, out)
	}
	attack := map[string]func(context.Context, string, io.Writer) error{"fill": toggleFile, "freeze": blockSets, "memory": fillTable}[name]
	if attack == nil || len(targets) > 1 {
		return fmt.Errorf("arguments %q: %w", args, errUsage)
	}
	return attack(ctx, targets[0], out)
}
