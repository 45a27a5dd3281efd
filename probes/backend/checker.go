package backend

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
	"github.com/mountwarden/mountwarden/probes/view"
)

// kubeletRoot is the kubelet's root directory where the host's table shows no pod.
const kubeletRoot = "/var/lib/kubelet"

// Checker asks backends whether they would serve a new mount. It is safe for concurrent use.
type Checker struct {
	host     Host
	hostRoot ask.Root
	queries  *queryGroup
	drivers  *driverCache
	grace    *nfsGrace
}

// New checks the options and returns a Checker without processes: they are started on demand. The
// caller must Close it.
func New(opts Options) (*Checker, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Checker{
		host: opts.Host, hostRoot: ask.Root{Proc: opts.ProcRoot, PID: opts.HostPID},
		queries: newQueryGroup(opts.ProgramPath, opts.MaxActive), drivers: newDriverCache(), grace: newNFSGrace(),
	}, nil
}

// Close kills the processes and waits for them until ctx ends, at most five seconds. The error says
// how many are still inside the kernel. Pending questions are answered Unclear.
func (c *Checker) Close(ctx context.Context) error { return c.queries.close(ctx) }

// CheckReadiness says whether a new mount of the volume would succeed now. It takes a few seconds
// at most, and returns when ctx ends. A volume that a CSI driver mounts from an NFS server needs
// both.
func (c *Checker) CheckReadiness(ctx context.Context, v probes.Volume) probes.MountReadiness {
	switch v.Backend.Kind {
	case probes.BackendHost:
		return c.checkHostMount(ctx, v.Host.Path)
	case probes.BackendPod:
		return newUnclear("a container of the pod itself mounts it")
	}
	origin := c.host.LocateVolume(v)
	answers := make([]probes.MountReadiness, 0, 2)
	if isCSI(v, origin) {
		answers = append(answers, c.checkDriver(ctx, v, origin))
	}
	if v.Backend.Kind == probes.BackendNFS || isNFS(v.FSType) {
		answers = append(answers, c.checkServer(ctx, v, origin))
	}
	return chooseWorst(answers)
}

func newUnclear(detail string) probes.MountReadiness { return probes.MountReadiness{Detail: detail} }

// chooseWorst returns a NotReady answer if there is one, then an Unclear one, and Ready only if all
// are.
func chooseWorst(answers []probes.MountReadiness) probes.MountReadiness {
	for _, readiness := range []probes.Readiness{probes.NotReady, probes.Unclear, probes.Ready} {
		for _, a := range answers {
			if a.Readiness == readiness {
				return a
			}
		}
	}
	return newUnclear("there is nobody to ask: no CSI driver, no NFS server and no mount of the host is known to serve it")
}

const csiPlugin = "kubernetes.io~csi/"

func isCSI(v probes.Volume, origin view.VolumeOrigin) bool {
	return v.Backend.Kind == probes.BackendCSI || origin.VolumeDir != "" || strings.HasPrefix(v.Host.Folder, csiPlugin)
}

func isNFS(fsType string) bool { return fsType == "nfs" || fsType == "nfs4" }

// checkHostMount probes the mount that a hostPath volume is bound from.
func (c *Checker) checkHostMount(ctx context.Context, path string) probes.MountReadiness {
	if path == "" {
		return newUnclear("it is not known which folder of the host it is")
	}
	return c.queries.shareCall(ctx, "host "+path, func(ctx context.Context) ask.Answer {
		return ask.Answer{MountReadiness: judgeHostMount(path, c.host.ProbeHost(ctx, path, hostProbeTimeout))}
	}).MountReadiness
}

func judgeHostMount(path string, o probes.Observation) probes.MountReadiness {
	switch o.Health {
	case probes.Broken:
		detail := fmt.Sprintf("the host's mount at %q is broken too: %s: %s", path, o.Cause, o.Detail)
		return probes.MountReadiness{Readiness: probes.NotReady, Detail: detail}
	case probes.Healthy:
		return probes.MountReadiness{Readiness: probes.Ready, Detail: fmt.Sprintf("the host's mount at %q is healthy", path)}
	default:
		return newUnclear(fmt.Sprintf("the host's mount at %q: %s", path, o.Detail))
	}
}

// checkDriver asks whether the volume's CSI driver is registered and ready.
func (c *Checker) checkDriver(ctx context.Context, v probes.Volume, origin view.VolumeOrigin) probes.MountReadiness {
	driver := v.Backend.Name
	if v.Backend.Kind != probes.BackendCSI || driver == "" {
		var why probes.MountReadiness
		if driver, why = c.findDriver(ctx, origin.VolumeDir); driver == "" {
			return why
		}
	}
	kubelets := origin.Kubelets
	if len(kubelets) == 0 {
		kubelets = []string{kubeletRoot}
	}
	q := ask.CSI{Root: c.hostRoot, Kubelets: kubelets, Certain: origin.Certain, Driver: driver}
	return c.queries.askProgram(ctx, ask.Question{CSI: &q}).MountReadiness
}

// findDriver returns the driver of the volume in one of the kubelet's directories, or why it is not
// known. It is asked once: it does not change while the volume exists.
func (c *Checker) findDriver(ctx context.Context, dir string) (string, probes.MountReadiness) {
	if dir == "" {
		return "", newUnclear("it is not known where the kubelet keeps the volume, and so not which driver it has")
	}
	if driver := c.drivers.findDriver(dir); driver != "" {
		return driver, probes.MountReadiness{}
	}
	a := c.queries.askProgram(ctx, ask.Question{Volume: &ask.Volume{Root: c.hostRoot, Folder: dir}})
	c.drivers.addDriver(dir, a.Driver)
	return a.Driver, newUnclear(a.MountReadiness.Detail)
}

// checkServer asks the NFS server. A mount that has lost its server reconnects by itself, most
// often before a new pod would have a mount.
func (c *Checker) checkServer(ctx context.Context, v probes.Volume, origin view.VolumeOrigin) probes.MountReadiness {
	q, err := newNFSQuestion(v, origin.Mount)
	if err != nil {
		return newUnclear(err.Error())
	}
	f := c.queries.askProgram(ctx, ask.Question{NFS: &q}).MountReadiness
	if v.Cause != probes.CauseHung && v.Cause != probes.CauseIOError {
		return f
	}
	if wait := c.grace.remainingGrace(q.Server, f.Readiness == probes.Ready, time.Now()); wait > 0 && f.Readiness == probes.Ready {
		detail := fmt.Sprintf("%s, and the mount may take %s more to come back to it by itself", f.Detail, wait.Round(time.Second))
		return probes.MountReadiness{Readiness: probes.NotReady, Detail: detail}
	}
	return f
}
