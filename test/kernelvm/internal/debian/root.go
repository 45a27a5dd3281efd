package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrHost is wrapped when this machine cannot fetch Debian's packages.
var ErrHost = errors.New("this machine cannot fetch packages of Debian")

// Suite is a part of the archive, such as "bookworm-backports".
type Suite string

// The suites that packages come from.
const (
	Bookworm          Suite = "bookworm"
	BookwormBackports Suite = "bookworm-backports"
	BookwormSecurity  Suite = "bookworm-security"
	BullseyeSecurity  Suite = "bullseye-security"
	TrixieBackports   Suite = "trixie-backports"
)

// Root is the folder of a private apt.
type Root struct{ dir string }

// Open makes a private apt in dir, which must be absolute, and has it learn what the archive holds now. An error about the machine wraps ErrHost.
func Open(ctx context.Context, dir string) (*Root, error) {
	for _, program := range []string{"apt-get", "apt-cache", "dpkg"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w: %s is not there; use a Debian or Ubuntu", ErrHost, program)
		}
	}
	r := &Root{dir: dir}
	if err := r.furnish(); err != nil {
		return nil, err
	}
	archive, err := r.mirror(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := r.keyring(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.path("etc/debian.sources"), []byte(archive.sources(keys)), 0o644); err != nil {
		return nil, err
	}
	_, err = r.run(ctx, "apt-get", "update")
	return r, err
}

// furnish makes what apt wants to find.
func (r *Root) furnish() error {
	for _, folder := range []string{"etc", "lists/partial", "cache/archives/partial", "log"} {
		if err := os.MkdirAll(r.path(folder), 0o755); err != nil {
			return fmt.Errorf("make a private apt: %w", err)
		}
	}
	return errors.Join(os.WriteFile(r.path("status"), nil, 0o644), os.WriteFile(r.path("apt.conf"), []byte(r.config()), 0o644))
}

// config hides all of the host's.
func (r *Root) config() string {
	var text strings.Builder
	for _, setting := range [][2]string{
		{"Dir::Etc::parts", "/none"}, {"Dir::Etc::main", "/none"}, {"Dir::Etc::sourceparts", "/none"}, {"Dir::Etc::preferencesparts", "/none"},
		{"Dir::Etc::preferences", "/none"}, {"Dir::Etc::sourcelist", r.path("etc/debian.sources")},
		{"Dir::State", r.dir}, {"Dir::State::lists", r.path("lists")}, {"Dir::State::status", r.path("status")},
		{"Dir::Cache", r.path("cache")}, {"Dir::Log", r.path("log")},
		{"APT::Architecture", "amd64"}, {"APT::Architectures", "amd64"}, {"APT::Sandbox::User", ""}, {"APT::Install-Recommends", "false"},
		{"Acquire::Languages", "none"}, {"Acquire::Retries", "3"},
		{"APT::Update::Error-Mode", "any"}, // a list that cannot be had is no reason to use an old one
	} {
		fmt.Fprintf(&text, "%s %q;\n", setting[0], setting[1])
	}
	return text.String()
}

func (r *Root) path(name string) string { return filepath.Join(r.dir, name) }

// run runs a program of apt with the private configuration and returns its output.
func (r *Root) run(ctx context.Context, program string, args ...string) (string, error) {
	return run(ctx, r.env(), program, args...)
}

func run(ctx context.Context, env []string, program string, args ...string) (string, error) {
	return runIn(ctx, "", env, program, args...)
}

func runIn(ctx context.Context, dir string, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s %s: %w\n%s", ErrHost, program, strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return string(out), nil
}
