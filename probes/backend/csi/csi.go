package csi

import (
	"context"
	"encoding/json"
	"fmt"
	"path"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

// CheckDriver says whether the driver of a volume is registered with this node's kubelet and ready.
// It waits ask.Timeout for each socket, twice at most. What cannot be checked is Unclear.
func CheckDriver(ctx context.Context, q ask.CSI) probes.MountReadiness {
	r, err := openHostRoot(q.Root)
	if err != nil {
		return unclearBecause(err)
	}
	defer r.close()
	s := driverSearch{root: r, driver: q.Driver}
	sockets, err := s.listRegistrySockets(q.Kubelets)
	if err != nil {
		return unclearBecause(err)
	}
	return mergeResults(q.Driver, q.Certain, s.askSockets(ctx, sockets))
}

func unclearBecause(err error) probes.MountReadiness {
	return probes.MountReadiness{Detail: err.Error()}
}

// ReadDriver returns the driver of a volume, which the kubelet stores in the volume's directory
// (saveVolumeData in kubernetes/pkg/volume/csi/csi_util.go).
func ReadDriver(q ask.Volume) (string, error) {
	r, err := openHostRoot(q.Root)
	if err != nil {
		return "", err
	}
	defer r.close()
	at := path.Join(q.Folder, "vol_data.json")
	text, err := r.readHostFile(at)
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

// mergeResults makes one answer of the results of all registry sockets.
func mergeResults(driver string, certain bool, all []socketResult) probes.MountReadiness {
	var best, silent *socketResult
	var blocked error
	for i := range all {
		f := &all[i]
		switch {
		case f.isDriver && (best == nil || rankReadiness(f.readiness) < rankReadiness(best.readiness)):
			best = f
		case f.isDriver:
		case f.err != nil && f.readiness.Readiness == probes.Unclear:
			blocked = f.err
		case f.err != nil && (silent == nil || f.isLikely):
			silent = f
		}
	}
	switch {
	case best != nil:
		return best.readiness
	case blocked != nil:
		return unclearBecause(blocked)
	case !certain:
		return unclearBecause(fmt.Errorf("the driver %q is not found, and it is not known where this kubelet keeps its registry", driver))
	case silent != nil:
		detail := fmt.Sprintf("the driver %q is not registered with the kubelet: %s", driver, silent.readiness.Detail)
		return probes.MountReadiness{Readiness: probes.NotReady, Detail: detail}
	default:
		return probes.MountReadiness{Readiness: probes.NotReady, Detail: fmt.Sprintf("the driver %q is not registered with the kubelet", driver)}
	}
}

// rankReadiness orders the answers of several registrations of one driver, which exist while it is
// replaced: one that is ready is enough.
func rankReadiness(f probes.MountReadiness) int {
	switch f.Readiness {
	case probes.Ready:
		return 0
	case probes.Unclear:
		return 1
	default:
		return 2
	}
}
