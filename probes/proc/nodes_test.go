package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each file of testdata/nodes is a node: a comment, then which process ("none" when it must be
// nobody) owns each container id, then a paragraph for each process: "PID STARTTIME COMM" and its
// /proc/PID/cgroup.
func TestNodes(t *testing.T) {
	files, err := filepath.Glob("testdata/nodes/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no nodes", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, processes, _ := strings.Cut(string(text), "\n\n")
			tree := newTree(t)
			for paragraph := range strings.SplitSeq(processes, "\n\n") {
				tree.parse(paragraph)
			}
			f, _ := tree.newFinder()
			for range 2 { // the second time all ids are known
				for _, line := range strings.Split(head, "\n")[1:] {
					tree.expectOwner(f, line)
				}
			}
		})
	}
}

// parse makes the process of a paragraph.
func (p tree) parse(paragraph string) {
	p.t.Helper()
	var pid int
	var inner int
	var comm string
	first, cgroup, _ := strings.Cut(paragraph, "\n")
	if _, err := fmt.Sscan(first, &pid, &inner, &comm); err != nil {
		p.t.Fatalf("%q: %v", first, err)
	}
	p.addProcess(pid, comm, 'S', inner, strings.TrimSuffix(cgroup, "\n"))
}

// expectOwner asks for the id of a line "PID ID" or "none ID".
func (p tree) expectOwner(f *Finder, line string) {
	p.t.Helper()
	var want, id string
	if _, err := fmt.Sscan(line, &want, &id); err != nil {
		p.t.Fatalf("%q: %v", line, err)
	}
	got := "none"
	if process, err := f.Find(id); err == nil {
		got = fmt.Sprint(process.PID)
	}
	if got != want {
		p.t.Errorf("%s belongs to %s, want %s", id, got, want)
	}
}
