package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/script"
)

func TestRun(t *testing.T) {
	for _, row := range []struct {
		name    string
		command []string
		within  time.Duration
		code    int
		said    string
	}{
		{"good", []string{"/bin/sh", "-c", "echo $PWD $A"}, time.Minute, 0, "/ b\n"},
		{"bad", []string{"/bin/sh", "-c", "echo no >&2; exit 3"}, time.Minute, 3, "no\n"},
		{"late", []string{"/bin/sh", "-c", "echo begun; exec tail -f /dev/null"}, 200 * time.Millisecond, -1, "begun\n"},
		{"not there", []string{"/no/such/program"}, time.Minute, -1, "no such file"},
	} {
		var said strings.Builder
		got := run(script.Job{Name: row.name, Dir: "/", Command: row.command, Env: []string{"A=b"}, Within: row.within}, &said)
		if got.Job != row.name || got.Code != row.code || !strings.Contains(said.String(), row.said) {
			t.Errorf("%s: %+v %q", row.name, got, said.String())
		}
	}
}
