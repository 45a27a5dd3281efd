package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// roleEnv makes a child of this program something else: see roles.
const roleEnv = "MOUNTWARDEN_BENCH_ROLE"

func main() {
	if role := os.Getenv(roleEnv); role != "" {
		exit(play(role))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts, err := parse(os.Args[1:])
	if err == nil {
		err = runInside(ctx, opts)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// play is what a child does.
func play(role string) error {
	switch role {
	case "bench":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return runBench(ctx)
	case "container":
		return containerRole()
	case "daemon":
		return daemonRole()
	case "looker":
		return lookerRole()
	case "rester":
		return resterRole()
	default:
		return fmt.Errorf("unknown role %q", role)
	}
}

// options say what is measured, and with what.
type options struct {
	Agent, Worker   string // the binaries under test
	Etcd, APIServer string
	Output          string        // where the JSON goes
	Only            []string      // parts; empty is all
	Window          time.Duration // of CPU and memory at rest
	Settle          time.Duration // before that
	Kills           int           // with events
	PolledKills     int           // without
	Periods         []int         // of looks without events, in seconds
	Looks           int           // for the cost of one
	Mounts          []int         // in all, for CPU and memory at rest
	Pods            int           // over which they are spread
	Hung            int           // mounts that never answer
	HungKills       int           // beside them
	Hold            time.Duration // how long they hang
}

func parse(args []string) (options, error) {
	o := options{
		Window: time.Minute, Settle: 25 * time.Second, Kills: 200, PolledKills: 20, Looks: 20_000,
		Periods: []int{1, 10}, Mounts: []int{10, 100, 1100}, Pods: 110, Hung: 100, HungKills: 50, Hold: time.Minute,
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.Agent, "agent", "mountwarden", "the agent's `BINARY`")
	flags.StringVar(&o.Worker, "worker", "mountwarden-probe", "the worker's `BINARY`")
	flags.StringVar(&o.Etcd, "etcd", "etcd", "the `BINARY` of etcd")
	flags.StringVar(&o.APIServer, "kube-apiserver", "kube-apiserver", "the `BINARY` of kube-apiserver")
	flags.StringVar(&o.Output, "output", "bench.json", "the `FILE` for the results as JSON")
	only := flags.String("only", "", "the `PARTS` to measure, separated by commas: "+strings.Join(partNames(), ", "))
	flags.DurationVar(&o.Hold, "hold", o.Hold, "how much longer mounts hang when all is measured")
	flags.DurationVar(&o.Window, "window", o.Window, "over how long CPU at rest is measured")
	flags.IntVar(&o.Kills, "kills", o.Kills, "how many FUSE daemons are killed with events")
	flags.Func("mounts", fmt.Sprintf("how many `MOUNTS` are there at rest, separated by commas; default %v", o.Mounts), func(text string) (err error) {
		o.Mounts, err = numbers(text)
		return err
	})
	short := flags.Bool("short", false, "all parts, small and quick: to see that they work, not to quote figures")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	for _, name := range o.Only {
		if !slices.Contains(partNames(), name) {
			return o, fmt.Errorf("--only: %q is no part: use some of %s", name, strings.Join(partNames(), ", "))
		}
	}
	if *short {
		o = o.short()
	}
	return o, nil
}

func numbers(text string) (all []int, err error) {
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number above 0", word)
		}
		all = append(all, n)
	}
	return all, nil
}

func (o options) short() options {
	o.Window, o.Settle, o.Hold = 5*time.Second, 2*time.Second, time.Second
	o.Kills, o.PolledKills, o.Periods, o.Looks, o.Mounts, o.Pods, o.Hung, o.HungKills = 5, 2, []int{1}, 200, []int{10}, 5, 40, 5
	return o
}
