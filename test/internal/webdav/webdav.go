package webdav

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/net/webdav"
)

// The variables that make a process a server: what it serves, and where.
const (
	rootEnv    = "WEBDAV_CHILD_ROOT"
	addressEnv = "WEBDAV_CHILD_ADDRESS"
)

// headerTimeout bounds how long a client may take to ask.
const headerTimeout = 10 * time.Second

// MainIfChild makes this process a server and never returns, if Start began it as one; else it does
// nothing. It is the first line of TestMain, before flags are parsed.
func MainIfChild() {
	root := os.Getenv(rootEnv)
	if root == "" {
		return
	}
	err := serve(root, os.Getenv(addressEnv), os.Stdin, os.Stdout)
	fmt.Fprintln(os.Stderr, "error: serve WebDAV:", err)
	os.Exit(1) //nolint:forbidigo // this is the main of the child
}

// serve writes the address that it listens on as one line, and serves until the parent, which holds
// the other end of parent, has ended.
func serve(root, address string, parent io.Reader, stdout io.Writer) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, listener.Addr()); err != nil {
		return err
	}
	server := &http.Server{
		Handler:           &webdav.Handler{FileSystem: webdav.Dir(root), LockSystem: webdav.NewMemLS()},
		ReadHeaderTimeout: headerTimeout,
	}
	go func() {
		_, _ = io.Copy(io.Discard, parent)
		_ = server.Close()
	}()
	return server.Serve(listener)
}

// Server is a process that serves one directory.
type Server struct {
	address string
	cmd     *exec.Cmd
	stdin   io.Closer // the process ends when this one does, which closes it
}

// Start serves root on address, HOST:PORT, where port 0 is any that is free. It returns once
// connections are accepted. The server lives until Kill or the end of this process.
func Start(root, address string) (*Server, error) {
	s := &Server{cmd: exec.Command("/proc/self/exe")} //nolint:noctx // it lives until Kill
	s.cmd.Env = append(os.Environ(), rootEnv+"="+root, addressEnv+"="+address)
	var stderr strings.Builder
	s.cmd.Stderr = &stderr
	stdin, errIn := s.cmd.StdinPipe()
	stdout, errOut := s.cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		return nil, fmt.Errorf("start a WebDAV server: %w", err)
	}
	s.stdin = stdin
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a WebDAV server: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("start a WebDAV server on %s: %w: %s", address, errors.Join(err, s.Kill()), stderr.String())
	}
	s.address = strings.TrimSpace(line)
	return s, nil
}

// Address is where the server listens, as HOST:PORT, and URL what a client is given.
func (s *Server) Address() string { return s.address }

// URL is the address of the served directory.
func (s *Server) URL() string { return "http://" + s.address }

// Kill ends the server at once and waits until it is gone. It can be called again.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the WebDAV server: %w", err)
	}
	_ = s.stdin.Close()
	_ = s.cmd.Wait() // how it ended is of no interest
	return nil
}
