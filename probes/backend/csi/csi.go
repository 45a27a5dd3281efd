package csi

import (
	"context"
	"encoding/json"
	"fmt"
	"path"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

// Fresh says whether the driver of a volume is registered with this node's kubelet and ready. It waits for each socket for
// ask.Patience, twice at most. What cannot be looked at is Unclear.
func Fresh(ctx context.Context, q ask.CSI) probes.Freshness {
	r, err := openRoot(q.Root)
	if err != nil {
		return unclear(err)
	}
	defer r.close()
	s := search{root: r, driver: q.Driver}
	sockets, err := s.registries(q.Kubelets)
	if err != nil {
		return unclear(err)
	}
	return conclude(q.Driver, q.Certain, s.ask(ctx, sockets))
}

func unclear(err error) probes.Freshness { return probes.Freshness{Detail: err.Error()} }

// DriverOf returns the driver of a volume, as the kubelet notes it in the volume's folder (saveVolumeData in
// kubernetes/pkg/volume/csi/csi_util.go).
func DriverOf(q ask.Volume) (string, error) {
	r, err := openRoot(q.Root)
	if err != nil {
		return "", err
	}
	defer r.close()
	at := path.Join(q.Folder, "vol_data.json")
	text, err := r.read(at)
	if err != nil {
		return "", err
	}
	var data struct {
		DriverName string `json:"driverName"`
	}
	if err := json.Unmarshal(text, &data); err != nil {
		return "", fmt.Errorf("%q on the host is not understood: %w", at, err)
	}
	if data.DriverName == "" {
		return "", fmt.Errorf("%q on the host names no driver", at)
	}
	return data.DriverName, nil
}

// conclude makes one answer of what the sockets of the registry have said.
func conclude(driver string, certain bool, all []found) probes.Freshness {
	var best, silent *found
	var blocked error
	for i := range all {
		f := &all[i]
		switch {
		case f.is && (best == nil || rank(f.fresh) < rank(best.fresh)):
			best = f
		case f.is:
		case f.err != nil && f.fresh.Readiness == probes.Unclear:
			blocked = f.err
		case f.err != nil && (silent == nil || f.likely):
			silent = f
		}
	}
	switch {
	case best != nil:
		return best.fresh
	case blocked != nil:
		return unclear(blocked)
	case !certain:
		return unclear(fmt.Errorf("the driver %q is not found, and it is not known where this kubelet keeps its registry", driver))
	case silent != nil:
		detail := fmt.Sprintf("the driver %q is not registered with the kubelet: %s", driver, silent.fresh.Detail)
		return probes.Freshness{Readiness: probes.NotReady, Detail: detail}
	default:
		return probes.Freshness{Readiness: probes.NotReady, Detail: fmt.Sprintf("the driver %q is not registered with the kubelet", driver)}
	}
}

// rank orders the answers of several registrations of one driver, as there are while it is replaced: any that is ready will do.
func rank(f probes.Freshness) int {
	switch f.Readiness {
	case probes.Ready:
		return 0
	case probes.Unclear:
		return 1
	default:
		return 2
	}
}
