package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Errors of Stop and Start, for errors.Is.
var (
	ErrUnknown    = errors.New("no such component")
	ErrNotRunning = errors.New("component is not running")
	ErrRunning    = errors.New("component is running")
	ErrDied       = errors.New("component died")
)

// Supervisor runs components. Make it with New, then call Run once.
type Supervisor struct {
	logs   string
	stages [][]*unit
	reaper reaper

	mu     sync.Mutex
	phase  Phase
	closed bool           // nothing more is started
	ends   sync.WaitGroup // one watcher a running component
}

// Phase is what the whole is doing.
type Phase string

// The phases of a Supervisor.
const (
	PhaseStarting Phase = "starting"
	PhaseUp       Phase = "up"     // every component was ready once
	PhaseFailed   Phase = "failed" // one died before all were ready
)

// Status is the state of everything at one moment.
type Status struct {
	Phase      Phase             `json:"phase"`
	Components []ComponentStatus `json:"components"`
}

// New prepares to run stages, one after the other, the components of one stage side by side. Each
// component writes to a log of its own in the folder logs, which must be there.
func New(logs string, stages [][]Component) *Supervisor {
	s := &Supervisor{logs: logs, phase: PhaseStarting}
	s.reaper.owners = map[int]chan<- syscall.WaitStatus{}
	for _, stage := range stages {
		units := make([]*unit, 0, len(stage))
		for _, c := range stage {
			u := &unit{Component: c, status: ComponentStatus{Name: c.Name}}
			u.set(Waiting)
			units = append(units, u)
		}
		s.stages = append(s.stages, units)
	}
	return s
}

// Run starts everything and stays until ctx ends; then it kills every component and waits for them.
// A component that dies does not end it.
func (s *Supervisor) Run(ctx context.Context) {
	reaping, stopReaping := context.WithCancel(context.WithoutCancel(ctx))
	var reaper sync.WaitGroup
	reaper.Go(func() { s.reaper.run(reaping) })
	phase := PhaseUp
	if err := s.startAll(ctx); err != nil {
		phase = PhaseFailed
	}
	s.mu.Lock()
	s.phase = phase
	s.mu.Unlock()
	<-ctx.Done()
	s.killAll()
	s.ends.Wait()
	stopReaping()
	reaper.Wait()
}

// Status tells how everything is.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Phase: s.phase}
	for u := range s.units() {
		st.Components = append(st.Components, u.status)
	}
	return st
}

// Stop kills a component, as a crash would, and waits until it is gone.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	u, err := s.find(name)
	if err != nil {
		return err
	}
	gone, err := s.kill(u)
	if err != nil {
		return err
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s was killed but is still there: %w", name, ctx.Err())
	}
}

// Start runs a component that was stopped or has died, and waits until it is ready.
func (s *Supervisor) Start(ctx context.Context, name string) error {
	u, err := s.find(name)
	if err != nil {
		return err
	}
	if err := s.launch(u); err != nil {
		return err
	}
	return s.awaitReady(ctx, u)
}

func (s *Supervisor) startAll(ctx context.Context) error {
	for _, stage := range s.stages {
		for _, u := range stage {
			if err := s.launch(u); err != nil {
				return err
			}
		}
		for _, u := range stage {
			if err := s.awaitReady(ctx, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// launch starts u's process and watches for its end.
func (s *Supervisor) launch(u *unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("%w: the cluster is going down", ErrNotRunning)
	}
	if u.process != nil {
		return fmt.Errorf("%w: %s", ErrRunning, u.Name)
	}
	process, ended, err := s.exec(u.Component)
	if err != nil {
		u.status.Ended, u.status.LogTail = err.Error(), ""
		u.set(Died)
		return fmt.Errorf("start %s: %w", u.Name, err)
	}
	u.process, u.gone, u.killed = process, make(chan struct{}), false
	u.status = ComponentStatus{Name: u.Name, PID: process.Pid}
	u.set(Starting)
	s.ends.Go(func() { s.watch(u, ended) })
	return nil
}

// exec starts c with its output appended to its log.
func (s *Supervisor) exec(c Component) (*os.Process, <-chan syscall.WaitStatus, error) {
	log, err := os.OpenFile(LogFile(s.logs, c.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	return s.reaper.start(c.Path, append([]string{c.Path}, c.Args...), &os.ProcAttr{
		Env:   append(os.Environ(), c.Env...),
		Files: []*os.File{null, log, log},
	})
}

func (s *Supervisor) watch(u *unit, ended <-chan syscall.WaitStatus) {
	status := <-ended
	s.mu.Lock()
	defer s.mu.Unlock()
	// The process is reaped already; releasing its handle cannot fail in a way that matters.
	_ = u.process.Release()
	u.process = nil
	u.ended(status, LogFile(s.logs, u.Name))
}

// awaitReady asks u's Ready until it agrees, u ends or ctx does.
func (s *Supervisor) awaitReady(ctx context.Context, u *unit) error {
	s.mu.Lock()
	gone := u.gone
	s.mu.Unlock()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		err := askReady(ctx, u)
		s.noteReady(u, err)
		select {
		case <-gone:
			return fmt.Errorf("%w: %s", ErrDied, u.Name)
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-gone:
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w", u.Name, err, ctx.Err())
		case <-tick.C:
		}
	}
}

func askReady(ctx context.Context, u *unit) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	return u.Ready(ctx)
}

func (s *Supervisor) noteReady(u *unit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.status.State != Starting {
		return
	}
	if err != nil {
		u.status.NotYet = err.Error()
		return
	}
	u.status.NotYet = ""
	u.set(Running)
}

// kill sends SIGKILL and returns what is closed once the process is gone.
func (s *Supervisor) kill(u *unit) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.process == nil {
		return nil, fmt.Errorf("%w: %s is %s", ErrNotRunning, u.Name, u.status.State)
	}
	u.killed = true
	if err := u.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("kill %s: %w", u.Name, err)
	}
	return u.gone, nil
}

func (s *Supervisor) killAll() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for u := range s.units() {
		// One that is not running needs no killing.
		_, _ = s.kill(u)
	}
}

func (s *Supervisor) find(name string) (*unit, error) {
	for u := range s.units() {
		if u.Name == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
}

// units goes through every component in the order of the stages.
func (s *Supervisor) units() func(yield func(*unit) bool) {
	return slices.Values(slices.Concat(s.stages...))
}
