package workflows

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
)

const root = "../.."

// files returns each workflow, parsed.
func files(t *testing.T) map[string]*actionlint.Workflow {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.y*ml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	all := map[string]*actionlint.Workflow{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w, problems := actionlint.Parse(text)
		if len(problems) > 0 {
			t.Fatalf("%s: %v", path, problems)
		}
		all[filepath.Base(path)] = w
	}
	return all
}

// steps calls f with each step of all jobs.
func steps(w *actionlint.Workflow, f func(job string, s *actionlint.Step)) {
	for name, job := range w.Jobs {
		for _, s := range job.Steps {
			f(name, s)
		}
	}
}

func TestValid(t *testing.T) {
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name := range files(t) {
		path := filepath.Join(root, ".github", "workflows", name)
		problems, err := linter.LintFile(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Error(p)
		}
	}
}

var (
	commit = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	target = regexp.MustCompile(`\bmake ((?:[a-z][a-z0-9-]*\b[ \t]*)+)`)
	remote = regexp.MustCompile(`\bgo (?:run|install) \S*\w\.\w+/\S+`)
	pinned = regexp.MustCompile(`@v\d+\.\d+\.\d+$`)
)

// A tag can be moved to another commit, a commit cannot; the tag stands behind it for people and for dependabot.
func TestEveryActionIsPinned(t *testing.T) {
	for name, w := range files(t) {
		text, err := os.ReadFile(filepath.Join(root, ".github", "workflows", name))
		if err != nil {
			t.Fatal(err)
		}
		steps(w, func(job string, s *actionlint.Step) {
			switch e := s.Exec.(type) {
			case *actionlint.ExecAction:
				if !commit.MatchString(e.Uses.Value) {
					t.Errorf("%s, job %s: %s is not pinned by a commit", name, job, e.Uses.Value)
				}
				if !regexp.MustCompile(regexp.QuoteMeta(e.Uses.Value) + ` # v[0-9]+\.[0-9]+\.[0-9]+\n`).Match(text) {
					t.Errorf("%s, job %s: %s does not say its version", name, job, e.Uses.Value)
				}
			case *actionlint.ExecRun:
				for _, program := range remote.FindAllString(e.Run.Value, -1) {
					if !pinned.MatchString(program) {
						t.Errorf("%s, job %s: %q is not pinned by a version", name, job, program)
					}
				}
			}
		})
	}
}

// Nothing is granted to a whole workflow, and a job that may write is one of those that release.
func TestPermissionsAreMinimal(t *testing.T) {
	allowed := map[string][]string{"release.yml/publish": {"attestations", "contents", "id-token", "packages"}}
	for name, w := range files(t) {
		if w.Permissions == nil || w.Permissions.All != nil || len(w.Permissions.Scopes) != 0 {
			t.Errorf("%s: permissions of the workflow must be {}", name)
		}
		for job, j := range w.Jobs {
			if j.Permissions == nil || j.Permissions.All != nil {
				t.Errorf("%s, job %s: name its permissions one by one", name, job)
				continue
			}
			for scope, p := range j.Permissions.Scopes {
				if p.Value.Value != "read" && !slices.Contains(allowed[name+"/"+job], scope) {
					t.Errorf("%s, job %s: may %s %s", name, job, p.Value.Value, scope)
				}
			}
		}
	}
}

// No code of a pull request runs with rights, no step keeps the token, and no text of an event is put into a script.
func TestNothingIsInjected(t *testing.T) {
	for name, w := range files(t) {
		for _, e := range w.On {
			if e.EventName() == "pull_request_target" || e.EventName() == "workflow_run" {
				t.Errorf("%s: runs on %s", name, e.EventName())
			}
		}
		steps(w, func(job string, s *actionlint.Step) {
			switch e := s.Exec.(type) {
			case *actionlint.ExecAction:
				keeps, ok := e.Inputs["persist-credentials"]
				if strings.HasPrefix(e.Uses.Value, "actions/checkout@") && (!ok || keeps.Value.Value != "false") {
					t.Errorf("%s, job %s: the checkout keeps its token", name, job)
				}
			case *actionlint.ExecRun:
				if strings.Contains(e.Run.Value, "${{") {
					t.Errorf("%s, job %s: an expression within a script: %s", name, job, e.Run.Value)
				}
			}
		})
	}
}

// Every target of make that a workflow names is there.
func TestTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for name, w := range files(t) {
		steps(w, func(job string, s *actionlint.Step) {
			e, ok := s.Exec.(*actionlint.ExecRun)
			if !ok {
				return
			}
			for _, call := range target.FindAllStringSubmatch(e.Run.Value, -1) {
				for _, word := range strings.Fields(call[1]) {
					named++
					if !bytes.Contains(makefile, []byte("\n"+word+":")) {
						t.Errorf("%s, job %s: make has no target %q", name, job, word)
					}
				}
			}
		})
	}
	if named == 0 {
		t.Error("no workflow runs make")
	}
}
