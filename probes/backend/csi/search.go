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

// search looks for one driver.
type search struct {
	root   root
	driver string
}

// found is what one socket of a registry has said.
type found struct {
	is     bool             // it is the driver's, and fresh is the driver's answer
	likely bool             // it bears the driver's name, as the usual registrar names it
	fresh  probes.Freshness // else what is wrong with the socket
	err    error            // why nothing was said
}

// registries lists the sockets of all the kubelet's registries that are there; there must be one.
func (s *search) registries(kubelets []string) (all []string, err error) {
	absent := errors.New("no folder of a kubelet is known")
	read := false
	for _, kubelet := range kubelets {
		sockets, err := s.root.sockets(path.Join(kubelet, "plugins_registry"))
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

// ask asks all sockets at once and returns what each has said.
func (s *search) ask(ctx context.Context, sockets []string) []found {
	all := make([]found, len(sockets))
	var asked sync.WaitGroup
	for i, socket := range sockets {
		asked.Go(func() { all[i] = s.askOne(ctx, socket) })
	}
	asked.Wait()
	return all
}

func (s *search) askOne(ctx context.Context, socket string) found {
	info, err := call(ctx, s.root, socket, getInfo)
	if err != nil {
		return found{likely: path.Base(socket) == s.driver+"-reg.sock", fresh: failed("its registration socket", socket, err), err: err}
	}
	if info.GetType() != registration.CSIPlugin || info.GetName() != s.driver {
		return found{}
	}
	endpoint := info.GetEndpoint()
	if endpoint == "" { // as the kubelet has it
		endpoint = socket
	}
	return found{is: true, fresh: s.probe(ctx, endpoint)}
}

// probe asks the driver itself. One that does not implement the call, or leaves the answer open, is ready (CSI specification, Probe).
func (s *search) probe(ctx context.Context, endpoint string) probes.Freshness {
	answer, err := call(ctx, s.root, endpoint, probe)
	who := fmt.Sprintf("the driver %q", s.driver)
	switch {
	case status.Code(err) == codes.Unimplemented:
	case err != nil:
		return failed(who, endpoint, err)
	case answer.GetReady() != nil && !answer.GetReady().GetValue():
		return probes.Freshness{Readiness: probes.NotReady, Detail: who + " says that it is not ready"}
	}
	return probes.Freshness{Readiness: probes.Ready, Detail: who + " is registered with the kubelet and ready"}
}

// failed says what the error of a call means: what keeps this process from asking says nothing of the driver.
func failed(who, socket string, err error) probes.Freshness {
	f := probes.Freshness{Readiness: probes.NotReady}
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
		return unclear(err)
	default:
		f.Detail = fmt.Sprintf("%s answers with %s: %q", who, said.Code(), said.Message())
	}
	return f
}
