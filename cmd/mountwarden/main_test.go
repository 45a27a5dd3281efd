package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// asMain has the test's executable be the command itself.
const asMain = "MOUNTWARDEN_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	m.Run()
	if err := os.RemoveAll(workerDir()); err != nil {
		fmt.Fprintln(os.Stderr, "remove the worker:", err)
		os.Exit(1)
	}
}

// process is the command as a process of its own.
type process struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// command returns the command with arguments and with nothing in its environment but env.
func command(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), self, args...)}
	p.Env = append([]string{asMain + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GOCOVERDIR=" + t.TempDir()}, env...)
	p.Stdout, p.Stderr, p.WaitDelay = &p.stdout, &p.stderr, 10*time.Second
	return p
}

// code waits for the end of the process and returns its exit code.
func (p *process) code(t *testing.T, err error) int {
	t.Helper()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// run runs the command within the test and returns its output and exit code.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := newRootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		var exit exitError
		if code = 1; errors.As(err, &exit) {
			code = exit.code
		}
		errs.WriteString(err.Error())
	}
	return out.String(), errs.String(), code
}

// Wrong usage exits with 2 and says what is wrong and where to read on.
func TestWrongUsage(t *testing.T) {
	for _, tc := range []struct {
		args  string
		words []string
	}{
		{"bogus", []string{`"bogus"`}},
		{"--bogus", []string{"--bogus"}},
		{"version more", []string{`"more"`}},
		{"version --bogus", []string{"--bogus"}},
		{"check", []string{"at least one PATH"}},
		{"check relative/path", []string{`"relative/path"`, "absolute"}},
		{"check /tmp --output xml", []string{"--output", `"xml"`, "text and json"}},
		{"check /tmp --timeout 0s", []string{"--timeout", "more than 0"}},
		{"check /tmp --timeout -1s", []string{"--timeout", "-1s"}},
		{"check /tmp --timeout soon", []string{"--timeout", "soon"}},
		{"check /tmp --wait -1s", []string{"--wait", "-1s"}},
		{"agent more", []string{`"more"`}},
		{"agent --bogus", []string{"--bogus"}},
		{"agent", []string{"nodeName", "NODE_NAME"}},
		{"agent --node-name n --defaults-mode Sometimes", []string{"defaults.mode", "Sometimes", "Remediate, Report"}},
		{"agent --node-name n --defaults-period-seconds 0", []string{"defaults.periodSeconds", `"0"`, "from 1"}},
		{"agent --node-name n --metrics-bind-address nowhere", []string{"metricsBindAddress", "nowhere"}},
		{"agent --config /nowhere.yaml", []string{"/nowhere.yaml"}},
		{"agent --node-name n --status-bind-address :8082", []string{"statusBindAddress", "loopback", "port-forward"}},
		{"status more", []string{`"more"`}},
		{"status --output xml", []string{"--output", `"xml"`, "text and json"}},
		{"status -A -n a", []string{"--all-namespaces", "--namespace"}},
		{"status --pod a/b/c", []string{`"a/b/c"`, "NAMESPACE/NAME"}},
		{"status --pod a/b -n c", []string{`"a/b"`, `"c"`}},
		{"status --status-bind-address 10.0.0.1:8082", []string{"statusBindAddress", `"10.0.0.1:8082"`, "loopback"}},
		{"status --config /nowhere.yaml", []string{"/nowhere.yaml"}},
		{"status --dry-run", []string{"--dry-run"}}, // it is none of the agent's settings that status needs
	} {
		t.Run(tc.args, func(t *testing.T) {
			_, stderr, code := run(t, strings.Fields(tc.args)...)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, word := range append(tc.words, "--help") {
				if !strings.Contains(stderr, word) {
					t.Errorf("does not say %q: %s", word, stderr)
				}
			}
		})
	}
}

func TestExitCodesOfTheProcess(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"version"}, 0, ""},
		{nil, 0, ""},
		{[]string{"bogus"}, 2, "mountwarden: unknown command \"bogus\" (see --help)\n"},
		{[]string{"check", "/", "--worker-path", "/nowhere"}, 3, "mountwarden: worker options: worker /nowhere: stat /nowhere: no such file or directory\n"},
	} {
		p := command(t, nil, tc.args...)
		if code := p.code(t, p.Run()); code != tc.code || p.stderr.String() != tc.stderr {
			t.Errorf("%q: exit code %d and %q, want %d and %q", tc.args, code, p.stderr.String(), tc.code, tc.stderr)
		}
	}
}

func TestReport(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
	}{
		{errors.New("anything"), 1},
		{context.Canceled, 1},
		{newUsageError(errors.New("wrong")), 2},
		{exitError{code: 3}, 3},
	} {
		if got := reportError(tc.err); got != tc.code {
			t.Errorf("%v: exit code %d, want %d", tc.err, got, tc.code)
		}
		if tc.err.Error() == "" {
			t.Errorf("%#v says nothing", tc.err)
		}
	}
	if cause := errors.New("cause"); !errors.Is(newUsageError(cause), cause) {
		t.Error("the cause is lost")
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help"}} {
		stdout, _, code := run(t, args...)
		for _, word := range []string{"agent", "check", "status", "version"} {
			if code != 0 || !strings.Contains(stdout, word) {
				t.Errorf("%q: exit code %d, %q does not name %s", args, code, stdout, word)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	stdout, _, code := run(t, "version")
	if code != 0 || !regexp.MustCompile(`^mountwarden \S+ go1\.\S+( \S+)* linux/\w+\n$`).MatchString(stdout) {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

// What is printed is a file that gives the same configuration again.
func TestPrintConfigRoundTrip(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--node-name", "n1", "--dry-run", "--defaults-period-seconds", "7", "--limits-allowed-actions", "Evict", "--limits-namespace-selector", "a=b,c!=d"},
		{"--log-format", "text", "--log-level", "3", "--blocked-seconds", "0", "--kube-api-qps", "5"},
	} {
		first, stderr, code := run(t, append([]string{"agent", "--print-config"}, args...)...)
		if code != 0 || stderr != "" || first == "" {
			t.Fatalf("%q: exit code %d: %s", args, code, stderr)
		}
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
			t.Fatal(err)
		}
		second, _, _ := run(t, "agent", "--print-config", "--config", file)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("%q: the second time (-first +second):\n%s", args, diff)
		}
	}
}

func TestPrintConfigReadsTheEnvironment(t *testing.T) {
	p := command(t, []string{"NODE_NAME=from-env", "MOUNTWARDEN_DRY_RUN=true", "MOUNTWARDEN_LOG_LEVEL=2"}, "agent", "--print-config", "--log-level=4")
	code := p.code(t, p.Run())
	for _, line := range []string{"nodeName: from-env\n", "dryRun: true\n", "logLevel: 4\n"} {
		if code != 0 || !strings.Contains(p.stdout.String(), line) {
			t.Errorf("exit code %d, no %q in\n%s%s", code, line, p.stdout.String(), p.stderr.String())
		}
	}
}
