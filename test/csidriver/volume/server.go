package volume

import (
	"context"
	"errors"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

func (m *Manager) startServer(ctx context.Context, v Volume) error {
	program, err := programLine(v, m.store.cache(v.Path))
	if err != nil {
		return err
	}
	server, err := faultfs.Start(ctx, faultfs.StartOptions{
		Options: faultfs.Options{
			Mountpoint:   v.Path,
			Control:      m.store.control(v.Path),
			Canary:       v.Content.Canary,
			Content:      v.Content.Text,
			Source:       v.Content.Source,
			OwnerOnly:    v.Content.OwnerOnly,
			CacheFor:     v.Content.CacheFor,
			Backend:      v.Content.Backend,
			BackendGrace: v.Content.BackendGrace,
			ReadOnly:     v.ReadOnly,
		},
		Command: m.opts.Command,
		Program: program,
		Log:     m.opts.Log,
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers[v.Path] = server
	return nil
}

// isAlive tells whether a server of this process serves path. The kernel knows; the
// server, which may hang, is not asked.
func (m *Manager) isAlive(path string) bool {
	server := m.server(path)
	if server == nil || !server.Alive() {
		return false
	}
	connection, err := faultfs.ConnectionAt(path)
	return err == nil && connection == server.Connection()
}

func (m *Manager) server(path string) *faultfs.Server {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.servers[path]
}

// clear takes away whatever is mounted on path, and its server.
func (m *Manager) clear(path string) error {
	if server := m.server(path); server != nil {
		if err := server.Close(); err != nil {
			return err
		}
		m.mu.Lock()
		delete(m.servers, path)
		m.mu.Unlock()
	}
	v, ok, err := m.store.load(path)
	if err != nil {
		return err
	}
	if ok && v.Staging == "" {
		err = m.endStray(path)
	}
	return errors.Join(err, detachAll(path))
}

// endStray ends a server that another process started, if it still lives, and frees
// those who wait on its mount. The connection of a bind mount must not be ended this
// way, since other pods may use it.
func (m *Manager) endStray(path string) error {
	if err := faultfs.NewClient(m.store.control(path)).Kill(); err != nil {
		return err
	}
	return faultfs.Detach(path)
}
