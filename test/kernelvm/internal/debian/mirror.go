package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mirrorEnv is a mirror to use instead of the host's: the address above its folders debian and debian-security.
const mirrorEnv = "MOUNTWARDEN_DEBIAN_MIRROR"

// archive is where Debian's packages are, as addresses.
type archive struct{ main, security string }

// mirror is the one of the environment, or the one that the host's own apt uses.
func (r *Root) mirror(ctx context.Context) (archive, error) {
	if base := strings.TrimRight(os.Getenv(mirrorEnv), "/"); base != "" {
		return archive{base + "/debian", base + "/debian-security"}, nil
	}
	targets, err := run(ctx, nil, "apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT)")
	if err != nil {
		return archive{}, err
	}
	found := archiveOf(targets)
	if found.main == "" {
		return archive{}, fmt.Errorf("%w: its apt knows no mirror of Debian; set %s to the address of one, without the folder /debian "+
			"(https://www.debian.org/mirror/list)", ErrHost, mirrorEnv)
	}
	return found, nil
}

// archiveOf finds the mirror among the host's sources, one "ADDRESS COMPONENT" a line. Mirrors of Debian have the component main, which
// others who publish packages for it hardly have.
func archiveOf(targets string) (a archive) {
	for line := range strings.Lines(targets) {
		address, component, _ := strings.Cut(strings.TrimSpace(line), " ")
		address = strings.TrimRight(address, "/")
		switch {
		case component != "main":
		case strings.HasSuffix(address, "/debian") && a.main == "":
			a.main = address
		case strings.HasSuffix(address, "/debian-security") && a.security == "":
			a.security = address
		}
	}
	if a.main != "" && a.security == "" {
		a.security = a.main + "-security"
	}
	return a
}

// sources is a list of sources for apt, in its deb822 style.
func (a archive) sources(keys string) string {
	var text strings.Builder
	for _, part := range []struct {
		address string
		suites  []Suite
	}{{a.main, []Suite{Bookworm, BookwormBackports, TrixieBackports}}, {a.security, []Suite{BookwormSecurity, BullseyeSecurity}}} {
		fmt.Fprintf(&text, "Types: deb\nURIs: %s\nSuites:", part.address)
		for _, s := range part.suites {
			fmt.Fprintf(&text, " %s", s)
		}
		fmt.Fprintf(&text, "\nComponents: main\nArchitectures: amd64\nSigned-By: %s\n\n", keys)
	}
	return text.String()
}

// keyring is the file of Debian's public keys: the host's, or that of the package that the host's own distribution has for it, unpacked
// here.
func (r *Root) keyring(ctx context.Context) (string, error) {
	const file = "usr/share/keyrings/debian-archive-keyring.gpg"
	if hosts := filepath.Join("/", file); isFile(hosts) {
		return hosts, nil
	}
	unpacked := r.path("keys")
	if err := r.fetchKeys(ctx, unpacked); err != nil {
		return "", fmt.Errorf("find Debian's public keys: install the package debian-archive-keyring: %w", err)
	}
	return filepath.Join(unpacked, file), nil
}

// fetchKeys asks the host's own archive, with lists of its own.
func (r *Root) fetchKeys(ctx context.Context, to string) error {
	lists := "Dir::State::lists=" + r.path("host-lists")
	if err := os.MkdirAll(r.path("host-lists/partial"), 0o755); err != nil {
		return err
	}
	if _, err := run(ctx, nil, "apt-get", "-o", lists, "update"); err != nil {
		return err
	}
	return r.download(ctx, to, func(dir string) error {
		_, err := runIn(ctx, dir, nil, "apt-get", "-o", lists, "-o", "APT::Sandbox::User=", "download", "debian-archive-keyring")
		return err
	})
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
