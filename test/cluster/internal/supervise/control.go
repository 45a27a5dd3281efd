package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDown is wrapped when no supervisor answers.
var ErrDown = errors.New("the cluster is not running")

const (
	socketName    = "control.sock"
	headerTimeout = 10 * time.Second
)

// Listen makes the control socket in dir, in place of one that a dead supervisor left.
func Listen(dir string) (net.Listener, error) {
	at, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the state folder: %w", err)
	}
	defer at.Close()
	if err := unix.Unlinkat(int(at.Fd()), socketName, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("remove the old control socket: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath(at), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	listener.SetUnlinkOnClose(false) // by then the short path means nothing
	return listener, nil
}

// socketPath is short whatever the folder's own path is: unix(7) allows 107 bytes.
func socketPath(dir *os.File) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName) }

// Serve answers clients on l until ctx ends. Requests under way are then cut off.
func (s *Supervisor) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: headerTimeout}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the control socket: %w", err)
	}
	return nil
}

func (s *Supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Status()) // a client that went away needs no answer
	})
	mux.HandleFunc("POST /stop/{name}", act(s.Stop))
	mux.HandleFunc("POST /start/{name}", act(s.Start))
	return mux
}

func act(do func(context.Context, string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(r.Context(), r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	}
}

// Client talks to the supervisor whose state folder is Dir.
type Client struct{ Dir string }

// Status asks how everything is; ErrDown when nobody answers.
func (c Client) Status(ctx context.Context) (Status, error) {
	var st Status
	body, err := c.do(ctx, http.MethodGet, "/status")
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(body, &st); err != nil {
		return st, fmt.Errorf("read the supervisor's answer: %w", err)
	}
	return st, nil
}

// Stop kills a component.
func (c Client) Stop(ctx context.Context, name string) error {
	_, err := c.do(ctx, http.MethodPost, "/stop/"+url.PathEscape(name))
	return err
}

// Start starts a component again and waits until it is ready.
func (c Client) Start(ctx context.Context, name string) error {
	_, err := c.do(ctx, http.MethodPost, "/start/"+url.PathEscape(name))
	return err
}

// PID returns the supervisor's process as a pidfd and as a number, both of this pid namespace;
// ErrDown when there is none. The caller closes the pidfd.
func (c Client) PID(ctx context.Context) (pid, pidfd int, err error) {
	if pid, err = c.peer(ctx); err != nil {
		return 0, -1, err
	}
	if pidfd, err = unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err != nil {
		return 0, -1, fmt.Errorf("%w: %w", ErrDown, err)
	}
	// Asked again: had the process ended before pidfd_open, the number might be another's by now.
	if again, err := c.peer(ctx); err != nil || again != pid {
		return 0, -1, errors.Join(ErrDown, err, unix.Close(pidfd))
	}
	return pid, pidfd, nil
}

// peer asks the kernel who listens: only the supervisor holds the listening socket.
func (c Client) peer(ctx context.Context) (int, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn() //nolint:errcheck // the listener is a Unix socket
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, fmt.Errorf("ask who holds the control socket: %w", err)
	}
	return int(cred.Pid), nil
}

func (c Client) dial(ctx context.Context) (net.Conn, error) {
	dir, err := os.Open(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	defer dir.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketPath(dir))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	return conn, nil
}

func (c Client) do(ctx context.Context, method, path string) ([]byte, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the supervisor's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	return body, nil
}
