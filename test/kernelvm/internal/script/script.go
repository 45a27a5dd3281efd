package script

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// File is where the guest finds its jobs.
const File = "/jobs.json"

// Done is the last thing that a guest says.
const Done = "done"

// Mark begins each line, so that what the kernel or a stray program writes is none.
const Mark = "## "

// Job is a program that the guest runs.
type Job struct {
	Name    string
	Dir     string
	Command []string
	Env     []string
	Keep    []string      // files that it writes, to be handed to the host
	Within  time.Duration // after which it is killed
}

// Ended is how a job ended.
type Ended struct {
	Job  string
	Code int // as of exec.ProcessState.ExitCode
	Took time.Duration
}

// String is the line that says so, without Mark.
func (e Ended) String() string {
	return fmt.Sprintf("job %s ended with %d after %s", e.Job, e.Code, e.Took)
}

// ParseEnded is the opposite of String.
func ParseEnded(line string) (e Ended, ok bool) {
	words := strings.Fields(line)
	if len(words) != 7 || words[0] != "job" || words[2] != "ended" {
		return e, false
	}
	code, err := strconv.Atoi(words[4])
	if err != nil {
		return e, false
	}
	took, err := time.ParseDuration(words[6])
	return Ended{words[1], code, took}, err == nil
}

// kept begins the line with the content of a kept file, as JSON text needs no more than one line.
const kept = "file "

// Kept is the line that hands over a file of one line.
func Kept(name, text string) string { return kept + name + " " + strings.TrimSpace(text) }

// ParseKept is the opposite of Kept.
func ParseKept(line string) (name, text string, ok bool) {
	rest, ok := strings.CutPrefix(line, kept)
	name, text, found := strings.Cut(rest, " ")
	return name, text, ok && found
}

// Said is a line of a job's output.
func Said(job, line string) string { return "in " + job + ": " + line }

// ParseSaid is the opposite of Said.
func ParseSaid(line string) (job, text string, ok bool) {
	rest, ok := strings.CutPrefix(line, "in ")
	job, text, found := strings.Cut(rest, ": ")
	return job, text, ok && found
}
