package host

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrMissing is wrapped by every error about something that the machine lacks.
var ErrMissing = errors.New("this machine lacks something that a cluster needs")

// Programs are the programs of the distribution that a cluster uses.
type Programs struct {
	CNI     string // folder of the CNI plugins
	Busybox string // a static busybox
}

// pkg is one Debian package and how to tell that what it is for is there.
type pkg struct {
	name  string
	there func() bool
}

func packages() []pkg {
	onPath := func(program string) func() bool {
		return func() bool { _, err := exec.LookPath(program); return err == nil }
	}
	return []pkg{
		{"runc", onPath("runc")},
		{"containernetworking-plugins", func() bool { return cniFolder() != "" }},
		{"iptables", onPath("iptables")},
		{"busybox-static", func() bool { return staticBusybox() != "" }},
	}
}

// cniFolder is where the plugins are: Debian's place, or the one of most others.
func cniFolder() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		complete := !slices.ContainsFunc([]string{"bridge", "host-local", "loopback"}, func(plugin string) bool {
			_, err := os.Stat(filepath.Join(dir, plugin))
			return err != nil
		})
		if complete {
			return dir
		}
	}
	return ""
}

// staticBusybox is the path of a busybox that runs with no libraries beside it, as in an image.
func staticBusybox() string {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return ""
	}
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return ""
	}
	return path
}

// Install returns the programs, having installed what is missing if it is allowed to; progress
// says what it installs. An error wraps ErrMissing and names the packages.
func Install(ctx context.Context, progress io.Writer) (Programs, error) {
	missing := missingPackages(packages())
	if len(missing) > 0 {
		if err := install(ctx, progress, missing); err != nil {
			return Programs{}, err
		}
		if still := missingPackages(packages()); len(still) > 0 {
			return Programs{}, fmt.Errorf("%w: what is in %s, although the packages were installed",
				ErrMissing, strings.Join(still, ", "))
		}
	}
	return Programs{CNI: cniFolder(), Busybox: staticBusybox()}, nil
}

func missingPackages(all []pkg) []string {
	var missing []string
	for _, p := range all {
		if !p.there() {
			missing = append(missing, p.name)
		}
	}
	return missing
}

func install(ctx context.Context, progress io.Writer, names []string) error {
	list := strings.Join(names, " ")
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%w: the packages %s (their names in Debian and Ubuntu); install them, there: "+
			"sudo apt-get install %s", ErrMissing, list, list)
	}
	fmt.Fprintf(progress, "installing the packages %s\n", list)
	steps := [][]string{{"update"}, append([]string{"install", "--yes", "--no-install-recommends"}, names...)}
	for _, args := range steps {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: the packages %s, and apt-get %s failed: %w\n%s",
				ErrMissing, list, args[0], err, bytes.TrimSpace(out))
		}
	}
	return nil
}
