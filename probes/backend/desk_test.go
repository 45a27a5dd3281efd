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
		"hang":   {short, "no answer within 2s"},
		"late":   {short, "no answer within 2s"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newChecker(t, Options{}, &fakeHost{})
			c.desk.within = row.within
			began := time.Now()
			expect(t, c.Fresh(context.Background(), csi(what)), probes.Unclear, row.detail)
			if took := time.Since(began); took > row.within+5*time.Second {
				t.Errorf("it took %s", took)
			}
			eventually(t, "program has ended", func() bool { return len(c.desk.turns) == 0 && c.desk.living() == 0 })
		})
	}
}

// living counts the programs.
func (d *desk) living() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.children)
}

func (d *desk) known() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget(time.Now())
	return len(d.questions)
}

func TestProgramThatCannotStart(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	c.desk.path = filepath.Join(t.TempDir(), "gone")
	expect(t, c.Fresh(context.Background(), csi("ready")), probes.Unclear, "no such file")
	c.desk.path = filepath.Join(t.TempDir(), "odd")
	must(t, os.WriteFile(c.desk.path, []byte("what is this"), 0o700))
	expect(t, c.Fresh(context.Background(), csi("ready again")), probes.Unclear, "exec format error")
	expect(t, c.Fresh(context.Background(), csi(strings.Repeat("x", 1<<17))), probes.Unclear, "65536")
	if n := len(c.desk.turns); n != 0 {
		t.Errorf("%d turns are taken", n)
	}
}

func TestAnswersAreKeptForAMoment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "questions")
	must(t, os.WriteFile(file, nil, 0o600))
	c := newChecker(t, Options{ProcRoot: file}, &fakeHost{})
	for range 3 {
		expect(t, c.Fresh(context.Background(), csi("ready")), probes.Ready, "")
	}
	eventually(t, "answer forgotten", func() bool { return c.desk.known() == 0 })
	expect(t, c.Fresh(context.Background(), csi("ready")), probes.Ready, "")
	text, err := os.ReadFile(file)
	must(t, err)
	if n := strings.Count(string(text), "ready\n"); n < 2 || n > 3 { // on a machine so busy that one answer had gone already
		t.Errorf("asked %d times", n)
	}
}

// A program that is stuck in the kernel is not waited for. It keeps its turn, and its question is not asked again.
func TestProgramThatIsStuck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "questions")
	must(t, os.WriteFile(file, nil, 0o600))
	c := newChecker(t, Options{ProcRoot: file, MaxActive: 1}, &fakeHost{})
	c.desk.within, c.desk.keep = short, 0
	for range 3 {
		expect(t, c.Fresh(context.Background(), csi("stuck")), probes.Unclear, "no answer within")
	}
	text, err := os.ReadFile(file)
	must(t, err)
	if string(text) != "stuck\n" || len(c.desk.turns) != 1 {
		t.Errorf("asked:\n%s%d turns taken", text, len(c.desk.turns))
	}
	c.desk.within = short / 4
	expect(t, c.Fresh(context.Background(), csi("ready")), probes.Unclear, "all 1 programs")
	c.desk.within = patience
	expect(t, c.Fresh(context.Background(), csi("ready then")), probes.Ready, "")
	if c.desk.known() > 1 || c.desk.living() > 1 {
		t.Errorf("%d questions and %d programs are left", c.desk.known(), c.desk.living())
	}
}

func TestNoMoreAtATimeThanAllowed(t *testing.T) {
	c := newChecker(t, Options{MaxActive: 2}, &fakeHost{})
	answers := make(chan probes.Freshness)
	const all = 8
	for i := range all {
		go func() { answers <- c.Fresh(context.Background(), csi(fmt.Sprintf("slow %d", i))) }()
	}
	for range all {
		expect(t, <-answers, probes.Ready, "at last")
		if n := c.desk.living(); n > 2 {
			t.Errorf("%d programs at once", n)
		}
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	c.desk.mu.Lock()
	for i := range maxQuestions {
		c.desk.questions[fmt.Sprint(i)] = &question{busy: true}
	}
	c.desk.mu.Unlock()
	expect(t, c.Fresh(context.Background(), csi("ready")), probes.Unclear, "1024 questions")
}

// Who gives up does not take the answer from the others.
func TestWhoGivesUp(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	other := make(chan probes.Freshness)
	go func() { other <- c.Fresh(context.Background(), csi("slow")) }()
	expect(t, c.Fresh(ctx, csi("slow")), probes.Unclear, "not waited for")
	expect(t, <-other, probes.Ready, "at last")
}

func TestClose(t *testing.T) {
	looks := make(chan struct{})
	h := &fakeHost{answer: func(ctx context.Context, _ string) probes.Observation {
		close(looks)
		<-ctx.Done()
		return probes.Observation{Detail: "given up"}
	}}
	c := newChecker(t, Options{MaxActive: 1}, h)
	answers := make(chan probes.Freshness)
	for _, v := range []probes.Volume{csi("hang"), csi("hang too"), {Backend: probes.Backend{Kind: probes.BackendHost}, Host: probes.HostVolume{Path: "/x"}}} {
		go func() { answers <- c.Fresh(context.Background(), v) }()
	}
	<-looks
	eventually(t, "program runs", func() bool { return c.desk.living() == 1 })
	began := time.Now()
	must(t, c.Close(context.Background()))
	ending := 0
	for range 3 {
		f := <-answers
		expect(t, f, probes.Unclear, "")
		if strings.Contains(f.Detail, "the agent is ending") {
			ending++
		}
	}
	if ending != 2 { // the look says why by itself
		t.Errorf("%d of two questions say why", ending)
	}
	if took := time.Since(began); took > closeWithin {
		t.Errorf("it took %s", took)
	}
	must(t, c.Close(context.Background()))
	expect(t, c.Fresh(context.Background(), csi("ready")), probes.Unclear, "the agent is ending")
	if c.desk.living() != 0 || len(c.desk.turns) != 0 {
		t.Errorf("%d programs are left", c.desk.living())
	}
}

func TestCloseDoesNotWaitForTheStuck(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	c.desk.within = short
	expect(t, c.Fresh(context.Background(), csi("stuck")), probes.Unclear, "no answer within")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 questions") {
		t.Errorf("%v", err)
	}
	must(t, c.Close(context.Background())) // what holds it has let go
}

func TestCloseOfNothing(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{})
	must(t, c.Close(context.Background()))
}
