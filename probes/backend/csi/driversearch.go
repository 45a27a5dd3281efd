package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/mountwarden/mountwarden/probes"
)

// driverSearch finds one driver in the kubelet's registries.
type driverSearch struct {
	root   hostRoot
	driver string
}

// socketResult is the result of one registry socket.
type socketResult struct {
	isDriver  bool                  // it is the driver's, and readiness is the driver's answer
	isLikely  bool                  // it has the driver's name, as node-driver-registrar names it
	readiness probes.MountReadiness // otherwise what is wrong with the socket
	err       error                 // why there is no answer
}

// listRegistrySockets lists the sockets of all registries that exist. It fails if none does.
func (s *driverSearch) listRegistrySockets(kubelets []string) (all []string, err error) {
	absent := errors.New("no folder of a kubelet is known")
	read := false
	for _, kubelet := range kubelets {
		sockets, err := s.root.listSockets(path.Join(kubelet, "plugins_registry"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			absent = err
		case err != nil:
			return nil, err
		default:
			read, all = true, append(all, sockets...)
		}
	}
	if !read {
		return nil, absent
	}
	return all, nil
}

// askSockets asks all sockets at once, and returns their results in the same order.
func (s *driverSearch) askSockets(ctx context.Context, sockets []string) []socketResult {
	all := make([]socketResult, len(sockets))
	var asked sync.WaitGroup
	for i, socket := range sockets {
		asked.Go(func() { all[i] = s.askSocket(ctx, socket) })
	}
	asked.Wait()
	return all
}

func (s *driverSearch) askSocket(ctx context.Context, socket string) socketResult {
	info, err := callSocket(ctx, s.root, socket, callGetInfo)
	if err != nil {
		likely := path.Base(socket) == s.driver+"-reg.sock"
		return socketResult{isLikely: likely, readiness: judgeCallError("its registration socket", socket, err), err: err}
	}
	if info.GetType() != registration.CSIPlugin || info.GetName() != s.driver {
		return socketResult{}
	}
	endpoint := info.GetEndpoint()
	if endpoint == "" { // as the kubelet does
		endpoint = socket
	}
	return socketResult{isDriver: true, readiness: s.probeDriver(ctx, endpoint)}
}

// probeDriver asks the driver itself. A driver that does not implement the call, or leaves the
// answer open, is ready (CSI specification, Probe).
func (s *driverSearch) probeDriver(ctx context.Context, endpoint string) probes.MountReadiness {
	answer, err := callSocket(ctx, s.root, endpoint, callProbe)
	who := fmt.Sprintf("the driver %q", s.driver)
	switch {
	case status.Code(err) == codes.Unimplemented:
	case err != nil:
		return judgeCallError(who, endpoint, err)
	case answer.GetReady() != nil && !answer.GetReady().GetValue():
		return probes.MountReadiness{Readiness: probes.NotReady, Detail: who + " says that it is not ready"}
	}
	return probes.MountReadiness{Readiness: probes.Ready, Detail: who + " is registered with the kubelet and ready"}
}

// judgeCallError says what the error of a call means. An error that keeps this process from asking
// is Unclear: it says nothing about the driver.
func judgeCallError(who, socket string, err error) probes.MountReadiness {
	f := probes.MountReadiness{Readiness: probes.NotReady}
	tried := errors.Is(err, errConnect)
	said, ok := status.FromError(err)
	switch {
	case !tried && errors.Is(err, fs.ErrNotExist):
		f.Detail = fmt.Sprintf("%s has no socket at %q", who, socket)
	case tried && errors.Is(err, syscall.ECONNREFUSED):
		f.Detail = fmt.Sprintf("%s refuses connections at %q", who, socket)
	case tried && (errors.Is(err, syscall.EAGAIN) || errors.Is(err, context.DeadlineExceeded)), ok && said.Code() == codes.DeadlineExceeded:
		f.Detail = fmt.Sprintf("%s does not answer at %q", who, socket)
	case !ok || said.Code() == codes.PermissionDenied || said.Code() == codes.Unauthenticated || said.Code() == codes.Canceled:
		return unclearBecause(err)
	default:
		f.Detail = fmt.Sprintf("%s answers with %s: %q", who, said.Code(), said.Message())
	}
	return f
}
