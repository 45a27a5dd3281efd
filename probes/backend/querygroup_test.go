package backend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// Whatever a program does instead of answering proves nothing.
func TestProgramsThatMisbehave(t *testing.T) {
	for what, row := range map[string]struct {
		within time.Duration
		detail string
	}{
		"crash":  {patience, "ended without an answer"},
		"silent": {patience, "ended without an answer"},
		"garble": {patience, "not understood"},
		"half":   {patience, "not understood"},
		"twice":  {patience, "follow it"},
		"flood":  {patience, "bytes that are allowed"},
		"mute":   {patience, "ended without an answer"},
		"hang":   {shortTimeout, "no answer within 2s"},
		"late":   {shortTimeout, "no answer within 2s"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newChecker(t, Options{}, &fakeHost{})
			c.queries.timeout = row.within
			began := time.Now()
			expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume(what)), probes.Unclear, row.detail)
			if took := time.Since(began); took > row.within+5*time.Second {
				t.Errorf("it took %s", took)
			}
			eventually(t, "program has ended", func() bool { return len(c.queries.slots) == 0 && c.queries.countChildren() == 0 })
		})
	}
}

// countChildren counts the programs.
func (g *queryGroup) countChildren() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.children)
}

func (g *queryGroup) countQueries() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropExpired(time.Now())
	return len(g.queries)
}

func TestProgramThatCannotStart(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	c.queries.program = filepath.Join(t.TempDir(), "gone")
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("ready")), probes.Unclear, "no such file")
	c.queries.program = filepath.Join(t.TempDir(), "odd")
	must(t, os.WriteFile(c.queries.program, []byte("what is this"), 0o700))
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("ready again")), probes.Unclear, "exec format error")
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume(strings.Repeat("x", 1<<17))), probes.Unclear, "65536")
	if n := len(c.queries.slots); n != 0 {
		t.Errorf("%d turns are taken", n)
	}
}

func TestAnswersAreKeptForAMoment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "questions")
	must(t, os.WriteFile(file, nil, 0o600))
	c := newChecker(t, Options{ProcRoot: file}, &fakeHost{})
	for range 3 {
		expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("ready")), probes.Ready, "")
	}
	eventually(t, "answer forgotten", func() bool { return c.queries.countQueries() == 0 })
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("ready")), probes.Ready, "")
	text, err := os.ReadFile(file)
	must(t, err)
	if n := strings.Count(string(text), "ready\n"); n < 2 || n > 3 { // 3: an answer expired on a busy machine
		t.Errorf("asked %d times", n)
	}
}

// A program that is stuck in the kernel is not waited for. It keeps its slot, and its question is
// not asked again.
func TestProgramThatIsStuck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "questions")
	must(t, os.WriteFile(file, nil, 0o600))
	c := newChecker(t, Options{ProcRoot: file, MaxActive: 1}, &fakeHost{})
	c.queries.timeout, c.queries.lifetime = shortTimeout, 0
	for range 3 {
		expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("stuck")), probes.Unclear, "no answer within")
	}
	text, err := os.ReadFile(file)
	must(t, err)
	if string(text) != "stuck\n" || len(c.queries.slots) != 1 {
		t.Errorf("asked:\n%s%d turns taken", text, len(c.queries.slots))
	}
	c.queries.timeout = shortTimeout / 4
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("ready")), probes.Unclear, "all 1 programs")
	c.queries.timeout = patience
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("ready then")), probes.Ready, "")
	if c.queries.countQueries() > 1 || c.queries.countChildren() > 1 {
		t.Errorf("%d questions and %d programs are left", c.queries.countQueries(), c.queries.countChildren())
	}
}

func TestNoMoreAtATimeThanAllowed(t *testing.T) {
	c := newChecker(t, Options{MaxActive: 2}, &fakeHost{})
	answers := make(chan probes.MountReadiness)
	const all = 8
	for i := range all {
		go func() { answers <- c.CheckReadiness(context.Background(), csiVolume(fmt.Sprintf("slow %d", i))) }()
	}
	for range all {
		expectReadiness(t, <-answers, probes.Ready, "at last")
		if n := c.queries.countChildren(); n > 2 {
			t.Errorf("%d programs at once", n)
		}
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	c.queries.mu.Lock()
	for i := range maxQueries {
		c.queries.queries[fmt.Sprint(i)] = &query{busy: true}
	}
	c.queries.mu.Unlock()
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("ready")), probes.Unclear, "1024 questions")
}

// A caller that gives up does not take the answer from the others.
func TestCallerThatGivesUp(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	other := make(chan probes.MountReadiness)
	go func() { other <- c.CheckReadiness(context.Background(), csiVolume("slow")) }()
	expectReadiness(t, c.CheckReadiness(ctx, csiVolume("slow")), probes.Unclear, "not waited for")
	expectReadiness(t, <-other, probes.Ready, "at last")
}

func TestClose(t *testing.T) {
	looks := make(chan struct{})
	h := &fakeHost{answer: func(ctx context.Context, _ string) probes.Observation {
		close(looks)
		<-ctx.Done()
		return probes.Observation{Detail: "given up"}
	}}
	c := newChecker(t, Options{MaxActive: 1}, h)
	answers := make(chan probes.MountReadiness)
	for _, v := range []probes.Volume{csiVolume("hang"), csiVolume("hang too"), {Backend: probes.Backend{Kind: probes.BackendHost}, Host: probes.HostVolume{Path: "/x"}}} {
		go func() { answers <- c.CheckReadiness(context.Background(), v) }()
	}
	<-looks
	eventually(t, "program runs", func() bool { return c.queries.countChildren() == 1 })
	began := time.Now()
	must(t, c.Close(context.Background()))
	ending := 0
	for range 3 {
		f := <-answers
		expectReadiness(t, f, probes.Unclear, "")
		if strings.Contains(f.Detail, "the agent is ending") {
			ending++
		}
	}
	if ending != 2 { // the probe has its own detail
		t.Errorf("%d of two questions say why", ending)
	}
	if took := time.Since(began); took > closeTimeout {
		t.Errorf("it took %s", took)
	}
	must(t, c.Close(context.Background()))
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("ready")), probes.Unclear, "the agent is ending")
	if c.queries.countChildren() != 0 || len(c.queries.slots) != 0 {
		t.Errorf("%d programs are left", c.queries.countChildren())
	}
}

func TestCloseDoesNotWaitForTheStuck(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	c.queries.timeout = shortTimeout
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("stuck")), probes.Unclear, "no answer within")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 questions") {
		t.Errorf("%v", err)
	}
	must(t, c.Close(context.Background())) // the holder has ended
}

func TestCloseOfNothing(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	must(t, c.Close(context.Background()))
}
