package table_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mountwarden/mountwarden/controllers/internal/golden"
	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/status/table"
)

var update = flag.Bool("update", false, "write the golden file anew")

// node is one of everything; package status makes the file.
func node(t *testing.T) (s status.Snapshot) {
	t.Helper()
	golden.Decode(t, filepath.Join("..", "testdata", "node.json"), &s)
	return s
}

func write(t *testing.T, s status.Snapshot) string {
	t.Helper()
	var text bytes.Buffer
	if err := table.Write(&text, s); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestTable(t *testing.T) {
	golden.Check(t, filepath.Join("testdata", "node.txt"), write(t, node(t)), *update)
}

func TestTableOfNothing(t *testing.T) {
	s := status.Snapshot{Node: "node-1", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s.Agent.Started = s.Time.Add(-time.Minute)
	golden.Check(t, filepath.Join("testdata", "nothing.txt"), write(t, s), *update)
}

// Whatever a name holds, nothing but printable text and the ends of lines reaches the terminal.
func TestTableIsPrintable(t *testing.T) {
	s := node(t)
	evil := "\x1b]0;owned\a\r\n\u202e\u0085\u009b2J\xff"
	s.Node, s.Agent.Version, s.Agent.Selector = evil, evil, evil
	for i := range s.Pods {
		p := &s.Pods[i]
		p.Namespace, p.Name, p.Owner, p.Problem = evil, evil, evil, evil
		if p.Held != nil {
			p.Held.Message = evil
		}
		for j := range p.Mounts {
			m := &p.Mounts[j]
			m.Container, m.Volume, m.MountPoint, m.FSType, m.Finding = evil, evil, evil, evil, evil
		}
	}
	for i := range s.Removals {
		r := &s.Removals[i]
		r.Namespace, r.Pod, r.Owner, r.Successor, r.Stuck = evil, evil, evil, evil, evil
	}
	for i := range s.EventSources {
		s.EventSources[i].Detail = evil
	}
	for _, text := range []string{write(t, s), write(t, status.Snapshot{Node: evil, Agent: s.Agent})} {
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) || r == unicode.ReplacementChar }); i >= 0 {
			t.Errorf("%q is written", text[i:min(len(text), i+20)])
		}
	}
}

func TestFilteredTable(t *testing.T) {
	one := write(t, status.Filter{Namespace: "db", Pod: "hung"}.Apply(node(t)))
	if !strings.Contains(one, "none for 20s") || strings.Contains(one, "once-more") || strings.Contains(one, "web-1") {
		t.Errorf("shows:\n%s", one)
	}
	if none := write(t, status.Filter{Pod: "nobody"}.Apply(node(t))); !strings.Contains(none, "Nothing that is watched matches") || strings.Contains(none, "NAMESPACE") {
		t.Errorf("shows:\n%s", none)
	}
}

func TestManyFindingsAreCut(t *testing.T) {
	s := status.Snapshot{Summary: status.Summary{Pods: 1}, Pods: []status.Pod{{Namespace: "a", Name: "b"}}}
	for i := range 25 {
		s.Pods[0].Mounts = append(s.Pods[0].Mounts, status.Mount{MountPoint: fmt.Sprint("/", i), State: "Failed", Finding: "Stale"})
	}
	text := write(t, s)
	if strings.Count(text, ": Stale\n") != 20 || !strings.Contains(text, "and 5 more") {
		t.Errorf("shows:\n%s", text)
	}
}

func TestDryRunIsSaid(t *testing.T) {
	s := node(t)
	s.Agent.DryRun, s.Agent.LastLook = true, time.Time{}
	if text := write(t, s); !strings.Contains(text, "dryRun: it removes nothing") || !strings.Contains(text, "has not looked yet") {
		t.Errorf("shows:\n%s", text)
	}
}

type closed struct{}

var errClosed = errors.New("closed")

func (closed) Write([]byte) (int, error) { return 0, errClosed }

func TestErrorOfTheWriter(t *testing.T) {
	if err := table.Write(closed{}, node(t)); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
	if err := status.WriteJSON(closed{}, node(t), ""); !errors.Is(err, errClosed) {
		t.Errorf("as JSON: got %v", err)
	}
}
