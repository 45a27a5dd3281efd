package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what a run has found, and where.
type report struct {
	Time    time.Time
	Machine machine
	Figures []figure
}

// machine is where it was found.
type machine struct {
	CPU    string
	Cores  int
	Kernel string
	Load   string // of the last minute before the run
}

// figure is one result, with its limit when there is one: the most that is allowed.
type figure struct {
	Part, Name string
	Value      float64
	Unit       string
	Limit      float64 `json:",omitempty"`
	Within     *bool   `json:",omitempty"`
	Note       string  `json:",omitempty"`
}

func newReport() *report {
	return &report{Time: time.Now().UTC(), Machine: machine{
		CPU: firstOf("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Kernel: read("/proc/sys/kernel/osrelease"), Load: strings.Fields(read("/proc/loadavg") + " ?")[0],
	}}
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// firstOf returns the value of the first line "key : value".
func firstOf(path, key string) string {
	for line := range strings.Lines(read(path)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// add adds a figure without a limit.
func (r *report) add(part, name string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{Part: part, Name: name, Value: value, Unit: unit})
}

// limit adds a figure that may be at most limit.
func (r *report) limit(part, name string, value float64, unit string, limit float64) {
	within := value <= limit
	r.Figures = append(r.Figures, figure{Part: part, Name: name, Value: value, Unit: unit, Limit: limit, Within: &within})
}

// figureOf adds a figure that may be at most limit, if that is not 0.
func (r *report) figureOf(part, name string, value float64, unit string, limit float64) {
	if limit == 0 {
		r.add(part, name, value, unit)
		return
	}
	r.limit(part, name, value, unit, limit)
}

// note adds words to the last figure.
func (r *report) note(format string, args ...any) {
	r.Figures[len(r.Figures)-1].Note = fmt.Sprintf(format, args...)
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores, Linux %s, load %s, %s\n\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Load, r.Time.Format(time.RFC3339))
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range r.Figures {
		limit := ""
		if f.Within != nil {
			limit = fmt.Sprintf("limit %s: %s", number(f.Limit), map[bool]string{true: "ok", false: "EXCEEDED"}[*f.Within])
		}
		fmt.Fprintf(table, "%s\t%s\t%s %s\t%s\t%s\n", f.Part, f.Name, number(f.Value), f.Unit, limit, f.Note)
	}
	_ = table.Flush() // to a person
}

func number(v float64) string {
	return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.2f", v), "0"), ".0")
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

// distribution adds the quantiles of durations. It sorts them.
func (r *report) distribution(part, name string, all []time.Duration, limits map[string]time.Duration) {
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	for _, q := range []struct {
		name string
		of   float64
	}{{"median", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}} {
		value := milliseconds(quantile(all, q.of))
		if limit, ok := limits[q.name]; ok {
			r.limit(part, name+", "+q.name, value, "ms", milliseconds(limit))
		} else {
			r.add(part, name+", "+q.name, value, "ms")
		}
	}
	r.note("of %d", len(all))
}

// quantile is the smallest that is not exceeded by the share q of all, which are sorted.
func quantile(all []time.Duration, q float64) time.Duration {
	i := int(float64(len(all))*q+0.999999) - 1
	return all[min(max(i, 0), len(all)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
