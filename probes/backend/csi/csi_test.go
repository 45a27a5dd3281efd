package csi

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

const (
	usualSocket = registry + "/" + driver + "-reg.sock"
	oddSocket   = registry + "/odd.sock"
	kind        = "CSIPlugin"
)

func TestCheckDriver(t *testing.T) {
	registered := func(h *fakeHost) { h.serveRegistrar(usualSocket, kind, driver, endpoint) }
	for name, row := range map[string]struct {
		set    func(h *fakeHost)
		want   probes.Readiness
		detail string
	}{
		"ready":                 {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, wrapperspb.Bool(true), codes.OK) }, probes.Ready, driver},
		"leaves it open":        {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, nil, codes.OK) }, probes.Ready, ""},
		"does not implement it": {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, nil, codes.Unimplemented) }, probes.Ready, ""},
		"socket of any name": {func(h *fakeHost) {
			h.serveRegistrar(oddSocket, kind, driver, endpoint)
			h.serveDriver(endpoint, nil, codes.OK)
		}, probes.Ready, ""},
		"socket in a folder": {func(h *fakeHost) {
			h.serveRegistrar(registry+"/a/b/r.sock", kind, driver, endpoint)
			h.serveDriver(endpoint, nil, codes.OK)
		}, probes.Ready, ""},
		"endpoint is a symlink": {func(h *fakeHost) {
			h.serveRegistrar(usualSocket, kind, driver, "/l")
			h.makeSymlink("/l", endpoint)
			h.serveDriver(endpoint, nil, codes.OK)
		}, probes.Ready, ""},
		"the kubelet's folder is one":      {moveKubelet, probes.Ready, ""},
		"replaced, the former is gone":     {func(h *fakeHost) { h.leaveDeadSocket(oddSocket); registered(h); h.serveDriver(endpoint, nil, codes.OK) }, probes.Ready, ""},
		"replaced, the former still hangs": {replaceDriver, probes.Ready, ""},

		"says no":                       {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, wrapperspb.Bool(false), codes.OK) }, probes.NotReady, "not ready"},
		"failed precondition":           {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, nil, codes.FailedPrecondition) }, probes.NotReady, `"because\nof this"`},
		"internal error":                {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, nil, codes.Internal) }, probes.NotReady, "Internal"},
		"hangs":                         {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, nil, codes.DeadlineExceeded) }, probes.NotReady, "does not answer"},
		"hangs before it says anything": {func(h *fakeHost) { registered(h); h.listenUnserved(endpoint) }, probes.NotReady, "does not answer"},
		"refuses":                       {func(h *fakeHost) { registered(h); h.leaveDeadSocket(endpoint) }, probes.NotReady, "refuses"},
		"has no socket":                 {registered, probes.NotReady, "no socket"},
		"closes":                        {func(h *fakeHost) { registered(h); h.serveRaw(endpoint, func(net.Conn) {}) }, probes.NotReady, "Unavailable"},
		"speaks something else":         {func(h *fakeHost) { registered(h); h.serveRaw(endpoint, writeText("HTTP/1.1 400 no\r\n\r\n")) }, probes.NotReady, "Unavailable"},
		"nobody is registered":          {func(*fakeHost) {}, probes.NotReady, "not registered"},
		"others are registered":         {func(h *fakeHost) { h.serveRegistrar(oddSocket, kind, "other.example.com", endpoint) }, probes.NotReady, "not registered"},
		"another kind has the name":     {func(h *fakeHost) { h.serveRegistrar(usualSocket, "DRAPlugin", driver, endpoint) }, probes.NotReady, "not registered"},
		"a longer name":                 {func(h *fakeHost) { h.serveRegistrar(usualSocket, kind, driver+".x", endpoint) }, probes.NotReady, "not registered"},
		"registrar is gone":             {func(h *fakeHost) { h.leaveDeadSocket(usualSocket); h.leaveDeadSocket(oddSocket) }, probes.NotReady, "registration socket refuses connections at \"" + usualSocket},
		"registrar hangs":               {func(h *fakeHost) { h.listenUnserved(usualSocket) }, probes.NotReady, "registration socket does not answer"},
		"registrar fails":               {func(h *fakeHost) { h.serveRegistrar(usualSocket, kind, "", "") }, probes.NotReady, "out of order"},
		"registrar without an endpoint": {func(h *fakeHost) { h.serveRegistrar(usualSocket, kind, driver, "") }, probes.Ready, ""}, // there is no Probe
		"hidden socket":                 {func(h *fakeHost) { h.serveRegistrar(registry+"/.r.sock", kind, driver, endpoint) }, probes.NotReady, "not registered"},
		"socket too deep":               {func(h *fakeHost) { h.serveRegistrar(registry+"/a/b/c/r.sock", kind, driver, endpoint) }, probes.NotReady, "not registered"},
		"plain files":                   {func(h *fakeHost) { h.writeFile(registry+"/r.sock", "") }, probes.NotReady, "not registered"},
		"dangling symlink":              {func(h *fakeHost) { h.makeSymlink(registry+"/r.sock", "/nowhere") }, probes.NotReady, "not registered"},
		"symlinks in a ring":            {func(h *fakeHost) { h.makeSymlink(registry+"/a", registry); h.makeSymlink(registry+"/b", registry+"/b") }, probes.NotReady, "not registered"},

		"endpoint is no socket":   {func(h *fakeHost) { registered(h); h.writeFile(endpoint, "") }, probes.Unclear, "no socket"},
		"endpoint below a file":   {func(h *fakeHost) { registered(h); h.writeFile(filepath.Dir(endpoint), "") }, probes.Unclear, "not a directory"},
		"strangers may not ask":   {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, nil, codes.PermissionDenied) }, probes.Unclear, "PermissionDenied"},
		"strangers are not known": {func(h *fakeHost) { registered(h); h.serveDriver(endpoint, nil, codes.Unauthenticated) }, probes.Unclear, "Unauthenticated"},
		"no registry":             {func(h *fakeHost) { must(h.t, os.RemoveAll(h.hostPath(registry))) }, probes.Unclear, "no such file"},
		"no kubelet":              {func(h *fakeHost) { must(h.t, os.RemoveAll(h.hostPath(kubelet))) }, probes.Unclear, "no such file"},
		"registry is a file":      {func(h *fakeHost) { must(h.t, os.RemoveAll(h.hostPath(registry))); h.writeFile(registry, "") }, probes.Unclear, "not a directory"},
		"registry leads to a file": {func(h *fakeHost) {
			must(h.t, os.RemoveAll(h.hostPath(registry)))
			h.makeSymlink(registry, "/f")
			h.writeFile("/f", "")
		}, probes.Unclear, "not a directory"},
		"registry in a ring":         {func(h *fakeHost) { must(h.t, os.RemoveAll(h.hostPath(registry))); h.makeSymlink(registry, registry) }, probes.Unclear, "symbolic links"},
		"registry with too many":     {crowdRegistry, probes.Unclear, "more files"},
		"no root":                    {func(h *fakeHost) { must(h.t, os.RemoveAll(h.root)) }, probes.Unclear, "root folder"},
		"no process":                 {func(h *fakeHost) { must(h.t, os.RemoveAll(filepath.Join(h.hostRoot.Proc, "1"))) }, probes.Unclear, "host's process 1"},
		"root leads out of the host": {func(h *fakeHost) { must(h.t, os.Remove(filepath.Join(h.hostRoot.Proc, "1", "root"))) }, probes.Unclear, "root folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newFakeHost(t)
			row.set(h)
			began := time.Now()
			expectReadiness(t, h.checkDriver(), row.want, row.detail)
			if took := time.Since(began); took > 2*ask.Timeout+2*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func writeText(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = c.Write([]byte(text)) }
}

// moveKubelet moves the kubelet's directory and leaves an absolute symlink, which would lead out of
// the host if it were resolved in this process's root.
func moveKubelet(h *fakeHost) {
	must(h.t, os.RemoveAll(h.hostPath(kubelet)))
	h.makeSymlink(kubelet, "/data/kubelet")
	h.serveRegistrar("/data/kubelet/plugins_registry/r.sock", kind, driver, endpoint)
	h.serveDriver("/data/kubelet/plugins/driver/csi.sock", nil, codes.OK)
}

func replaceDriver(h *fakeHost) {
	h.serveRegistrar(oddSocket, kind, driver, "/former.sock")
	h.listenUnserved("/former.sock")
	h.serveRegistrar(usualSocket, kind, driver, endpoint)
	h.serveDriver(endpoint, nil, codes.OK)
}

func crowdRegistry(h *fakeHost) {
	for i := range maxEntries + 1 {
		h.writeFile(fmt.Sprintf("%s/%d", registry, i), "")
	}
}

// A symlink of the host is resolved on the host. The same path in this process's root is another
// directory, and is not read.
func TestSymlinksStayOnTheHost(t *testing.T) {
	h, outside := newFakeHost(t), newFakeHost(t)
	outside.serveRegistrar(usualSocket, kind, driver, endpoint)
	outside.serveDriver(endpoint, nil, codes.OK)
	must(t, os.RemoveAll(h.hostPath(registry)))
	h.makeSymlink(registry, outside.hostPath(registry))
	expectReadiness(t, h.checkDriver(), probes.Unclear, "no such file")

	h = newFakeHost(t)
	h.serveRegistrar(usualSocket, kind, driver, outside.hostPath(endpoint))
	expectReadiness(t, h.checkDriver(), probes.NotReady, "no socket")
	h = newFakeHost(t)
	h.serveRegistrar(usualSocket, kind, driver, "/../../../../../.."+outside.hostPath(endpoint))
	expectReadiness(t, h.checkDriver(), probes.NotReady, "no socket")
	h = newFakeHost(t)
	h.makeSymlink(endpoint, "/proc/self/root"+outside.hostPath(endpoint))
	h.serveRegistrar(usualSocket, kind, driver, endpoint)
	expectReadiness(t, h.checkDriver(), probes.NotReady, "no socket")
}

// While the kubelet's directory is uncertain, an absent driver proves nothing. A present one does.
func TestUncertainKubelets(t *testing.T) {
	h := newFakeHost(t)
	fresh := func(certain bool, kubelets ...string) probes.MountReadiness {
		return CheckDriver(context.Background(), ask.CSI{Root: h.hostRoot, Kubelets: kubelets, Certain: certain, Driver: driver})
	}
	expectReadiness(t, fresh(false, kubelet), probes.Unclear, "not known where this kubelet")
	expectReadiness(t, fresh(false), probes.Unclear, "no folder")
	expectReadiness(t, fresh(true), probes.Unclear, "no folder")
	expectReadiness(t, fresh(true, "/a", "/b"), probes.Unclear, "/b/plugins_registry")
	expectReadiness(t, fresh(true, "/a", kubelet), probes.NotReady, "not registered")
	h.serveRegistrar("/data/plugins_registry/r.sock", kind, driver, endpoint)
	h.serveDriver(endpoint, nil, codes.OK)
	expectReadiness(t, fresh(true, kubelet), probes.NotReady, "not registered")
	expectReadiness(t, fresh(false, "/a", kubelet, "/data"), probes.Ready, "")
	expectReadiness(t, fresh(true, "/data", "/data/plugins_registry"), probes.Ready, "")
}

// More connections than a hung driver's socket holds are no reason to wait, nor to call it unclear.
func TestBacklogIsFull(t *testing.T) {
	h := newFakeHost(t)
	h.serveRegistrar(usualSocket, kind, driver, endpoint)
	h.listenUnserved(endpoint)
	fillBacklog(t, h.hostPath(endpoint))
	expectReadiness(t, h.checkDriver(), probes.NotReady, "does not answer")
}

// fillBacklog connects until the kernel takes no more.
func fillBacklog(t *testing.T, path string) {
	t.Helper()
	for range 10_000 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("this kernel holds more connections than the test makes")
}

func TestReadDriver(t *testing.T) {
	const dir = kubelet + "/pods/u/volumes/kubernetes.io~csi/pv"
	for name, row := range map[string]struct {
		text   string
		driver string
		err    error
	}{
		"as the kubelet writes it": {`{"attachmentID":"csi-1","driverName":"a.b","nodeName":"n","specVolID":"pv","volumeHandle":"h","volumeLifecycleMode":"Persistent"}`, "a.b", nil},
		"little":                   {`{"driverName":"a.b"}`, "a.b", nil},
		"no driver":                {`{"specVolID":"pv"}`, "", newError("names no driver")},
		"empty driver":             {`{"driverName":""}`, "", newError("names no driver")},
		"empty":                    {"", "", newError("not understood")},
		"cut":                      {`{"driverName":"a.`, "", newError("not understood")},
		"list":                     {`["driverName"]`, "", newError("not understood")},
		"number":                   {`{"driverName":7}`, "", newError("not understood")},
		"too large":                {`{"driverName":"` + strings.Repeat("a", maxFile) + `"}`, "", newError("more than")},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t)
			h.writeFile(dir+"/vol_data.json", row.text)
			got, err := ReadDriver(ask.Volume{Root: h.hostRoot, Folder: dir})
			if got != row.driver || (err == nil) != (row.err == nil) || err != nil && !strings.Contains(err.Error(), row.err.Error()) {
				t.Errorf("got %q, %v, want %q, %v", got, err, row.driver, row.err)
			}
		})
	}
}

func TestReadDriverOfNoFile(t *testing.T) {
	h := newFakeHost(t)
	h.makeDir("/v/vol_data.json")
	h.writeFile("/secret", `{"driverName":"outside"}`)
	h.makeSymlink("/out/vol_data.json", h.hostPath("/secret"))
	h.listenUnserved("/s/vol_data.json")
	for _, dir := range []string{"/v", "/out", "/s", "/none", "", "/secret"} {
		if got, err := ReadDriver(ask.Volume{Root: h.hostRoot, Folder: dir}); err == nil || got != "" {
			t.Errorf("%q: %q", dir, got)
		}
	}
	if _, err := ReadDriver(ask.Volume{Root: ask.Root{Proc: h.hostRoot.Proc, PID: 2}, Folder: "/v"}); err == nil {
		t.Error("there is no such process")
	}
}
