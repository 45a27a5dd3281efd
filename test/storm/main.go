package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1) //nolint:gocritic // the signals go with the process
	}
}

// options say what is simulated, and with what.
type options struct {
	Etcd, APIServer string
	Output          string // where the JSON goes
	Log             string // where the agents' log goes; "" is nowhere
	Only            []string
	Short           bool
	Nodes           int // of the storms; ten pods a node
	Failures        int // of the crashing agents
	Seed            uint64
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("storm", flag.ContinueOnError)
	flags.StringVar(&o.Etcd, "etcd", "etcd", "the `BINARY` of etcd")
	flags.StringVar(&o.APIServer, "kube-apiserver", "kube-apiserver", "the `BINARY` of kube-apiserver")
	flags.StringVar(&o.Output, "output", "storm.json", "the `FILE` for the results as JSON")
	flags.StringVar(&o.Log, "log", "", "the `FILE` for the log of all agents")
	flags.BoolVar(&o.Short, "short", false, "all scenarios, small and quick: the same invariants, but no figures to quote")
	flags.IntVar(&o.Nodes, "nodes", 500, "how many nodes a storm has, of ten pods each")
	flags.IntVar(&o.Failures, "failures", 0, "how many failures the crashing agents see; 0 is 10000, or 120 with --short")
	flags.Uint64Var(&o.Seed, "seed", 1, "what chance begins with")
	only := flags.String("only", "", "the `SCENARIOS` to play, separated by commas: "+playable())
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	for _, name := range o.Only {
		if !isPlayed(name, o) {
			return o, fmt.Errorf("--only: %q is no scenario: use some of %s", name, playable())
		}
	}
	return o, nil
}

// playable says what may be chosen.
func playable() string {
	return strings.Join(scenarioNames(), ", ") + ", or one cast of them, such as dead-2"
}

// isPlayed reports whether it is the name of a scenario or of a cast.
func isPlayed(name string, o options) bool {
	return slices.ContainsFunc(scenarios(o), func(s scenario) bool {
		return s.name == name || slices.ContainsFunc(s.casts, func(c cast) bool { return c.name == name })
	})
}

// wants reports whether one of these names is to be played.
func (o options) wants(names ...string) bool {
	return len(o.Only) == 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(o.Only, name) })
}

// run plays the chosen scenarios and reports. The error tells of violations, too.
func run(ctx context.Context, args []string, w io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	log, done, err := logTo(o.Log)
	if err != nil {
		return err
	}
	defer done()
	klog.SetLogger(logr.Discard()) // of client-go: a crashed agent's requests are no news
	ctrl.SetLogger(logr.Discard())
	l, err := openLab(ctx, o, log)
	if err != nil {
		return err
	}
	defer l.close()
	r := newReport()
	for _, s := range scenarios(o) {
		s.casts = slices.DeleteFunc(s.casts, func(c cast) bool { return !o.wants(s.name, c.name) })
		s.play(ctx, l, r, w)
	}
	r.print(w)
	if err := r.write(o.Output); err != nil {
		return err
	}
	return r.err()
}

// logTo returns a log that goes to a file.
func logTo(path string) (logr.Logger, func(), error) {
	if path == "" {
		return logr.Discard(), func() {}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return logr.Logger{}, nil, err
	}
	write := func(prefix, args string) { fmt.Fprintln(file, prefix, args) }
	return funcr.New(write, funcr.Options{LogTimestamp: true}), func() { file.Close() }, nil
}
