package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: verify ROOT, where ROOT is the clone's top folder")
		os.Exit(2)
	}
	met, err := verify(os.Args[1], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(2)
	}
	if !met {
		os.Exit(1)
	}
}

// verify prints every figure of the clone and reports whether all are met.
func verify(root string, w io.Writer) (bool, error) {
	r, err := load(root)
	if err != nil {
		return false, err
	}
	return show(w, r.figures())
}

// show prints a table and, below it, what to do.
func show(w io.Writer, all []figure) (bool, error) {
	met := true
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FIGURE\tWANT\tGOT\t")
	for _, f := range all {
		mark := ""
		if !f.met {
			met, mark = false, "FAILS"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.name, f.want, f.got, mark)
	}
	if err := table.Flush(); err != nil {
		return false, fmt.Errorf("print the table: %w", err)
	}
	return met, advise(w, all)
}

func advise(w io.Writer, all []figure) error {
	for _, f := range all {
		if f.met {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s: %s\n", f.name, f.advice); err != nil {
			return fmt.Errorf("print advice: %w", err)
		}
		for _, place := range f.places {
			if _, err := fmt.Fprintf(w, "  %s\n", place); err != nil {
				return fmt.Errorf("print advice: %w", err)
			}
		}
	}
	return nil
}
