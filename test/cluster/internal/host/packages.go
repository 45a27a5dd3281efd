package host

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/mountwarden/mountwarden/test/internal/packages"
)

// ErrMissing is wrapped by every error about something that the machine lacks.
var ErrMissing = errors.New("this machine lacks something that a cluster needs")

// Programs are the programs of the distribution that a cluster uses.
type Programs struct {
	CNI     string // folder of the CNI plugins
	Busybox string // a static busybox
}

func wanted() []packages.Package {
	return []packages.Package{
		{Name: "runc", There: packages.OnPath("runc")},
		{Name: "containernetworking-plugins", There: func() bool { return cniFolder() != "" }},
		{Name: "iptables", There: packages.OnPath("iptables")},
		{Name: "busybox-static", There: func() bool { return staticBusybox() != "" }},
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
	if err := packages.Install(ctx, progress, wanted()...); err != nil {
		return Programs{}, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return Programs{CNI: cniFolder(), Busybox: staticBusybox()}, nil
}
