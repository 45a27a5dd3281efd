package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

// What a Manager may answer, besides errors of the system.
var (
	// ErrBusy means that another operation on the same path has not ended. Try again.
	ErrBusy = errors.New("another operation on this path is under way")
	// ErrConflict means that something else lives on the path. Unmount it first.
	ErrConflict = errors.New("another volume is mounted there")
	// ErrNotStaged means that no volume of that id is mounted on the staging path.
	ErrNotStaged = errors.New("the volume is not staged")
)

// Options say where a Manager keeps things and how it starts servers.
type Options struct {
	// Dir is where records and control sockets live, an absolute path.
	Dir string
	// Command begins the command line of a FUSE server, see faultfs.StartOptions.
	Command []string
	// Log gets what the servers write to stderr; nil drops it.
	Log io.Writer
}

// A Manager mounts and unmounts. Its methods can be called at the same time; those on
// different paths do not wait for each other, however broken one of the mounts is.
type Manager struct {
	opts  Options
	store store

	mu      sync.Mutex
	busy    map[string]bool            // by path
	servers map[string]*faultfs.Server // by path; those this process started
}

// NewManager gives a manager of what earlier ones left in opts.Dir.
func NewManager(opts Options) *Manager {
	return &Manager{
		opts: opts, store: store{opts.Dir},
		busy: map[string]bool{}, servers: map[string]*faultfs.Server{},
	}
}

// Mount makes sure that a living FUSE server serves v.Path. What is dead there is
// taken away first. A living server stays, hung or not: to ask it could hang.
func (m *Manager) Mount(ctx context.Context, v Volume) error {
	release, err := m.claim(v)
	if err != nil {
		return err
	}
	defer release()
	if m.isAlive(v.Path) {
		return m.store.save(v)
	}
	return m.replace(v, func() error { return m.startServer(ctx, v) })
}

// Bind makes sure that v.Path shows what is mounted on v.Staging, after bringing
// that back to life when it has died.
func (m *Manager) Bind(ctx context.Context, v Volume) error {
	release, err := m.claim(v)
	if err != nil {
		return err
	}
	defer release()
	staged, ok, err := m.store.load(v.Staging)
	if err != nil {
		return err
	}
	if !ok || staged.ID != v.ID {
		return fmt.Errorf("volume %q at staging path %q: %w", v.ID, v.Staging, ErrNotStaged)
	}
	if err := m.Mount(ctx, staged); err != nil {
		return err
	}
	if sameConnection(v.Staging, v.Path) {
		return m.store.save(v)
	}
	return m.replace(v, func() error { return bindMount(v.Staging, v.Path, v.ReadOnly) })
}

// Unmount ends the mount on path and its server, in whatever state they are, and
// removes the directory. Nothing there is fine.
func (m *Manager) Unmount(path string) error {
	release, err := m.lock(path)
	if err != nil {
		return err
	}
	defer release()
	if err := m.clear(path); err != nil {
		return err
	}
	return errors.Join(removeDir(path), m.store.remove(path))
}

// Recover forgets the records of mounts that are gone, as after a reboot, and gives
// those of mounts that are there but dead, since their servers ended with the
// process that started them. To be called before anything else.
func (m *Manager) Recover() (dead []Volume, err error) {
	all, err := m.store.list()
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		_, connErr := faultfs.ConnectionAt(v.Path)
		switch {
		case errors.Is(connErr, faultfs.ErrNotMounted):
			err = errors.Join(err, m.store.remove(v.Path))
		default:
			dead = append(dead, v)
		}
	}
	return dead, err
}

// Close ends all servers of this manager and leaves their mounts dead, as the end of
// the container would: to unmount below running pods would be worse.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for path, server := range m.servers {
		errs = append(errs, server.Kill())
		delete(m.servers, path)
	}
	return errors.Join(errs...)
}

// claim locks the path of v and refuses when another volume is on it.
func (m *Manager) claim(v Volume) (release func(), err error) {
	release, err = m.lock(v.Path)
	if err != nil {
		return nil, err
	}
	old, ok, err := m.store.load(v.Path)
	if err == nil && ok && !old.sameAs(v) {
		err = fmt.Errorf("%w: volume %q with other parameters is on path %q", ErrConflict, old.ID, v.Path)
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (m *Manager) lock(path string) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy[path] {
		return nil, fmt.Errorf("path %q: %w", path, ErrBusy)
	}
	m.busy[path] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.busy, path)
	}, nil
}

// replace mounts v afresh. The record is written first, so that a crash in between
// leaves something for Unmount to find; when the mount fails, nothing is left.
func (m *Manager) replace(v Volume, mount func() error) (err error) {
	if err := m.clear(v.Path); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.clear(v.Path), removeDir(v.Path), m.store.remove(v.Path))
		}
	}()
	if err := m.store.save(v); err != nil {
		return err
	}
	if err := os.MkdirAll(v.Path, 0o750); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	return mount()
}
