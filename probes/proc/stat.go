package proc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// stat is what is used of /proc/PID/stat.
type stat struct {
	comm  string
	state byte
	start uint64 // clock ticks since boot
}

// dead reports whether the task has exited: a zombie (Z) has no mounts any more.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

var errStat = errors.New("malformed stat")

// parseStat understands proc_pid_stat(5). The command is the process's own choice and may hold blanks
// and parentheses, so the fields are counted from the last parenthesis.
func parseStat(text string) (stat, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, errStat
	}
	fields := strings.Fields(text[end+1:])
	const state, start = 0, 19 // fields 3 and 22 of the manual
	if len(fields) <= start || len(fields[state]) != 1 {
		return stat{}, errStat
	}
	ticks, err := strconv.ParseUint(fields[start], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("%w: start time %q", errStat, fields[start])
	}
	return stat{comm: text[open+1 : end], state: fields[state][0], start: ticks}, nil
}
