package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/mountwarden/mountwarden/test/storm/internal/observer"
)

// result is what was seen of one cast.
type result struct {
	Scenario string
	Guard    string
	Nodes    int
	Failures int    `json:",omitempty"` // of single mounts
	Failed   string `json:",omitempty"` // why the play did not come to its end
	observer.Summary
	Crashes map[string]int `json:",omitempty"` // of agents, by the write that they ended at
}

func (r result) line() string {
	return fmt.Sprintf("%s (%s): %d removals, %d violations, all healthy after %.1f s %s", r.Scenario, r.Guard, r.Removals, len(r.Violations), r.AllHealthy, r.Failed)
}

// report is what a run has found, and where.
type report struct {
	Time    time.Time
	Cores   int
	Results []result

	mu sync.Mutex
}

func newReport() *report { return &report{Time: time.Now().UTC(), Cores: runtime.NumCPU()} }

// add keeps a result and prints its line: casts that play together end as they like.
func (r *report) add(w io.Writer, result result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Results = append(r.Results, result)
	fmt.Fprintln(w, result.line())
}

func (r *report) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "SCENARIO\tGUARD\tNODES\tBROKEN\tREMOVALS\tIN VAIN\tAT ONCE\tMOST A SECOND\tALL HEALTHY AFTER\tREQUESTS EACH\tCRASHES\tVIOLATIONS\t")
	for _, x := range r.Results {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f s\t%.1f\t%d\t%d\t\n", x.Scenario, x.Guard, x.Nodes, max(x.PeakUnhealthy, x.Failures), x.Removals, x.InVain,
			x.PeakConcurrent, most(x.Evictions), x.AllHealthy, x.PerRemoval, sum(x.Crashes), len(x.Violations))
	}
	_ = table.Flush()
	for _, x := range r.Results {
		fmt.Fprintf(w, "\n%s (%s), removals over time: %s\n", x.Scenario, x.Guard, course(x.Evictions))
		if x.Failed != "" {
			fmt.Fprintln(w, "  FAILED:", x.Failed)
		}
		printCounts(w, "agents crashed", x.Crashes)
		for _, v := range x.Violations[:min(20, len(x.Violations))] {
			fmt.Fprintln(w, "  VIOLATION", v)
		}
	}
}

func printCounts(w io.Writer, what string, counts map[string]int) {
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "  %s %s: %d\n", what, key, counts[key])
	}
}

// course shows removals over time in at most twenty steps.
func course(seconds []int) string {
	step := max(1, (len(seconds)+19)/20)
	var parts []string
	for first := 0; first < len(seconds); first += step {
		n := 0
		for _, s := range seconds[first:min(first+step, len(seconds))] {
			n += s
		}
		parts = append(parts, fmt.Sprint(n))
	}
	return fmt.Sprintf("%s (steps of %d s)", strings.Join(parts, " "), step)
}

func most(all []int) int {
	if len(all) == 0 {
		return 0
	}
	return slices.Max(all)
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// err tells of violations, and of plays that did not come to their end.
func (r *report) err() error {
	n, failed := 0, 0
	for _, x := range r.Results {
		n += len(x.Violations)
		if x.Failed != "" {
			failed++
		}
	}
	if n+failed > 0 {
		return fmt.Errorf("%d violations, %d plays failed", n, failed)
	}
	return nil
}
