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

// kubeletRoot is the kubelet's folder where the host's table shows no pod.
const kubeletRoot = "/var/lib/kubelet"

// Checker asks backends. It is safe for concurrent use.
type Checker struct {
	host    Host
	root    ask.Root
	desk    *desk
	drivers *drivers
	returns *returns
}

// New checks the options and returns a Checker without processes: they are started on demand. Close it.
func New(opts Options) (*Checker, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Checker{
		host: opts.Host, root: ask.Root{Proc: opts.ProcRoot, PID: opts.HostPID},
		desk: newDesk(opts.ProgramPath, opts.MaxActive), drivers: newDrivers(), returns: newReturns(),
	}, nil
}

// Close kills the processes and waits for them, at most until ctx ends or for five seconds. The error says how many are
// still inside the kernel. Questions under way are answered Unclear.
func (c *Checker) Close(ctx context.Context) error { return c.desk.close(ctx) }

// Fresh says whether a fresh mount of the volume would succeed now. It takes some seconds at most, and no longer than ctx lasts. A volume
// that an NFS server serves through a CSI driver needs both.
func (c *Checker) Fresh(ctx context.Context, v probes.Volume) probes.Freshness {
	switch v.Backend.Kind {
	case probes.BackendHost:
		return c.hosts(ctx, v.Host.Path)
	case probes.BackendPod:
		return unclear("a container of the pod itself mounts it")
	}
	place := c.host.Place(v)
	answers := make([]probes.Freshness, 0, 2)
	if isCSI(v, place) {
		answers = append(answers, c.csi(ctx, v, place))
	}
	if v.Backend.Kind == probes.BackendNFS || isNFS(v.FSType) {
		answers = append(answers, c.nfs(ctx, v, place))
	}
	return worst(answers)
}

func unclear(detail string) probes.Freshness { return probes.Freshness{Detail: detail} }

// worst is NotReady if any is, and Ready only if all are.
func worst(answers []probes.Freshness) probes.Freshness {
	for _, readiness := range []probes.Readiness{probes.NotReady, probes.Unclear, probes.Ready} {
		for _, a := range answers {
			if a.Readiness == readiness {
				return a
			}
		}
	}
	return unclear("there is nobody to ask: no CSI driver, no NFS server and no mount of the host is known to serve it")
}

const csiPlugin = "kubernetes.io~csi/"

func isCSI(v probes.Volume, place view.Place) bool {
	return v.Backend.Kind == probes.BackendCSI || place.Folder != "" || strings.HasPrefix(v.Host.Folder, csiPlugin)
}

func isNFS(fsType string) bool { return fsType == "nfs" || fsType == "nfs4" }

// hosts looks at the mount that a hostPath volume is bound from.
func (c *Checker) hosts(ctx context.Context, path string) probes.Freshness {
	if path == "" {
		return unclear("it is not known which folder of the host it is")
	}
	return c.desk.share(ctx, "host "+path, func(ctx context.Context) ask.Answer {
		return ask.Answer{Freshness: seen(path, c.host.ProbeHost(ctx, path, lookWithin))}
	}).Freshness
}

func seen(path string, o probes.Observation) probes.Freshness {
	switch o.Health {
	case probes.Broken:
		return probes.Freshness{Readiness: probes.NotReady, Detail: fmt.Sprintf("the host's mount at %q is broken too: %s: %s", path, o.Cause, o.Detail)}
	case probes.Healthy:
		return probes.Freshness{Readiness: probes.Ready, Detail: fmt.Sprintf("the host's mount at %q is healthy", path)}
	default:
		return unclear(fmt.Sprintf("the host's mount at %q: %s", path, o.Detail))
	}
}

// csi asks for the driver.
func (c *Checker) csi(ctx context.Context, v probes.Volume, place view.Place) probes.Freshness {
	driver := v.Backend.Name
	if v.Backend.Kind != probes.BackendCSI || driver == "" {
		var why probes.Freshness
		if driver, why = c.driverOf(ctx, place.Folder); driver == "" {
			return why
		}
	}
	kubelets := place.Kubelets
	if len(kubelets) == 0 {
		kubelets = []string{kubeletRoot}
	}
	q := ask.CSI{Root: c.root, Kubelets: kubelets, Certain: place.Certain, Driver: driver}
	return c.desk.ask(ctx, ask.Question{CSI: &q}).Freshness
}

// driverOf returns the driver of the volume in a folder of the kubelet, or why it is not known. It stays the same while the volume lives.
func (c *Checker) driverOf(ctx context.Context, folder string) (string, probes.Freshness) {
	if folder == "" {
		return "", unclear("it is not known where the kubelet keeps the volume, and so not which driver it has")
	}
	if driver := c.drivers.of(folder); driver != "" {
		return driver, probes.Freshness{}
	}
	a := c.desk.ask(ctx, ask.Question{Volume: &ask.Volume{Root: c.root, Folder: folder}})
	c.drivers.note(folder, a.Driver)
	return a.Driver, unclear(a.Freshness.Detail)
}

// nfs asks the server. A mount that has lost sight of its server comes back by itself, most often before a new pod would have one.
func (c *Checker) nfs(ctx context.Context, v probes.Volume, place view.Place) probes.Freshness {
	q, err := server(v, place.Mount)
	if err != nil {
		return unclear(err.Error())
	}
	f := c.desk.ask(ctx, ask.Question{NFS: &q}).Freshness
	if v.Cause != probes.CauseHung && v.Cause != probes.CauseIOError {
		return f
	}
	if left := c.returns.left(q.Server, f.Readiness == probes.Ready, time.Now()); left > 0 && f.Readiness == probes.Ready {
		return probes.Freshness{Readiness: probes.NotReady, Detail: fmt.Sprintf("%s, and the mount may take %s more to come back to it by itself",
			f.Detail, left.Round(time.Second))}
	}
	return f
}
