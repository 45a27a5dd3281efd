package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "top folder of the clone")
	flag.StringVar(&o.run, "run", all, "which tests, as go test takes it")
	flag.StringVar(&o.only, "only", "", "which suites, with commas; all without")
	flag.BoolVar(&o.update, "update", false, "write testdata and docs/kernels.md anew by what becomes of the scenarios")
	flag.BoolVar(&o.verbose, "v", false, "show all that the guests say")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: kernelvm [FLAG...] [KERNEL...], where a KERNEL is a series such as 6.1; all without")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.prepare(flag.Args())
	if err == nil {
		err = newRunner(o, os.Stdout).run(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernelvm:", err)
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	root, run, only string
	update, verbose bool
	kernels         []kernel
	suites          []suite
	cache           string
}

// prepare checks the options and completes them.
func (o *options) prepare(names []string) (err error) {
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	if o.kernels, err = chosen(names); err != nil {
		return err
	}
	if o.suites, err = chosenSuites(o.only); err != nil {
		return err
	}
	if o.run != all {
		o.suites = once(o.suites)
	}
	if o.update && o.some() {
		return errors.New("-update needs all tests: leave out -run (make's RUN) and -only")
	}
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("the kernels and their QEMU are Debian's for amd64, this machine is %s: run it on an amd64 machine", runtime.GOARCH)
	}
	o.cache, err = defaultCache()
	return err
}

// some says that not all tests run, so that nothing can be said of the table.
func (o *options) some() bool { return o.run != all || o.only != "" }

func chosenSuites(only string) (some []suite, err error) {
	if only == "" {
		return suites(), nil
	}
	for name := range strings.SplitSeq(only, ",") {
		known := len(some)
		for _, s := range suites() {
			if s.name == name {
				some = append(some, s)
			}
		}
		if len(some) == known {
			return nil, fmt.Errorf("there is no suite %q: choose of %s", name, strings.Join(suiteNames(), ", "))
		}
	}
	return some, nil
}

// once lets tests that were named run in one suite, where two divide a package among them: both would use the same disk.
func once(chosen []suite) (some []suite) {
	for _, s := range chosen {
		if s.only != "" && slices.ContainsFunc(chosen, func(other suite) bool { return other.folder == s.folder && other.only == "" }) {
			continue
		}
		s.skip = ""
		some = append(some, s)
	}
	return some
}

func suiteNames() (names []string) {
	for _, s := range suites() {
		names = append(names, s.name)
	}
	return names
}
