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
	usual = registry + "/" + driver + "-reg.sock"
	odd   = registry + "/odd.sock"
	kind  = "CSIPlugin"
)

func TestFresh(t *testing.T) {
	registered := func(h *fakeHost) { h.registers(usual, kind, driver, endpoint) }
	for name, row := range map[string]struct {
		set    func(h *fakeHost)
		want   probes.Readiness
		detail string
	}{
		"ready":                 {func(h *fakeHost) { registered(h); h.answers(endpoint, wrapperspb.Bool(true), codes.OK) }, probes.Ready, driver},
		"leaves it open":        {func(h *fakeHost) { registered(h); h.answers(endpoint, nil, codes.OK) }, probes.Ready, ""},
		"does not implement it": {func(h *fakeHost) { registered(h); h.answers(endpoint, nil, codes.Unimplemented) }, probes.Ready, ""},
		"socket of any name":    {func(h *fakeHost) { h.registers(odd, kind, driver, endpoint); h.answers(endpoint, nil, codes.OK) }, probes.Ready, ""},
		"socket in a folder": {func(h *fakeHost) {
			h.registers(registry+"/a/b/r.sock", kind, driver, endpoint)
			h.answers(endpoint, nil, codes.OK)
		}, probes.Ready, ""},
		"endpoint is a symlink": {func(h *fakeHost) {
			h.registers(usual, kind, driver, "/l")
			h.link("/l", endpoint)
			h.answers(endpoint, nil, codes.OK)
		}, probes.Ready, ""},
		"the kubelet's folder is one":      {moved, probes.Ready, ""},
		"replaced, the former is gone":     {func(h *fakeHost) { h.refuse(odd); registered(h); h.answers(endpoint, nil, codes.OK) }, probes.Ready, ""},
		"replaced, the former still hangs": {replaced, probes.Ready, ""},

		"says no":                       {func(h *fakeHost) { registered(h); h.answers(endpoint, wrapperspb.Bool(false), codes.OK) }, probes.NotReady, "not ready"},
		"failed precondition":           {func(h *fakeHost) { registered(h); h.answers(endpoint, nil, codes.FailedPrecondition) }, probes.NotReady, `"because\nof this"`},
		"internal error":                {func(h *fakeHost) { registered(h); h.answers(endpoint, nil, codes.Internal) }, probes.NotReady, "Internal"},
		"hangs":                         {func(h *fakeHost) { registered(h); h.answers(endpoint, nil, codes.DeadlineExceeded) }, probes.NotReady, "does not answer"},
		"hangs before it says anything": {func(h *fakeHost) { registered(h); h.listen(endpoint) }, probes.NotReady, "does not answer"},
		"refuses":                       {func(h *fakeHost) { registered(h); h.refuse(endpoint) }, probes.NotReady, "refuses"},
		"has no socket":                 {registered, probes.NotReady, "no socket"},
		"closes":                        {func(h *fakeHost) { registered(h); h.misbehave(endpoint, func(net.Conn) {}) }, probes.NotReady, "Unavailable"},
		"speaks something else":         {func(h *fakeHost) { registered(h); h.misbehave(endpoint, say("HTTP/1.1 400 no\r\n\r\n")) }, probes.NotReady, "Unavailable"},
		"nobody is registered":          {func(*fakeHost) {}, probes.NotReady, "not registered"},
		"others are registered":         {func(h *fakeHost) { h.registers(odd, kind, "other.example.com", endpoint) }, probes.NotReady, "not registered"},
		"another kind has the name":     {func(h *fakeHost) { h.registers(usual, "DRAPlugin", driver, endpoint) }, probes.NotReady, "not registered"},
		"a longer name":                 {func(h *fakeHost) { h.registers(usual, kind, driver+".x", endpoint) }, probes.NotReady, "not registered"},
		"registrar is gone":             {func(h *fakeHost) { h.refuse(usual); h.refuse(odd) }, probes.NotReady, "registration socket refuses connections at \"" + usual},
		"registrar hangs":               {func(h *fakeHost) { h.listen(usual) }, probes.NotReady, "registration socket does not answer"},
		"registrar fails":               {func(h *fakeHost) { h.registers(usual, kind, "", "") }, probes.NotReady, "out of order"},
		"registrar without an endpoint": {func(h *fakeHost) { h.registers(usual, kind, driver, "") }, probes.Ready, ""}, // the call is not implemented there
		"hidden socket":                 {func(h *fakeHost) { h.registers(registry+"/.r.sock", kind, driver, endpoint) }, probes.NotReady, "not registered"},
		"socket too deep":               {func(h *fakeHost) { h.registers(registry+"/a/b/c/r.sock", kind, driver, endpoint) }, probes.NotReady, "not registered"},
		"plain files":                   {func(h *fakeHost) { h.file(registry+"/r.sock", "") }, probes.NotReady, "not registered"},
		"dangling symlink":              {func(h *fakeHost) { h.link(registry+"/r.sock", "/nowhere") }, probes.NotReady, "not registered"},
		"symlinks in a ring":            {func(h *fakeHost) { h.link(registry+"/a", registry); h.link(registry+"/b", registry+"/b") }, probes.NotReady, "not registered"},

		"endpoint is no socket":      {func(h *fakeHost) { registered(h); h.file(endpoint, "") }, probes.Unclear, "no socket"},
		"endpoint below a file":      {func(h *fakeHost) { registered(h); h.file(filepath.Dir(endpoint), "") }, probes.Unclear, "not a directory"},
		"strangers may not ask":      {func(h *fakeHost) { registered(h); h.answers(endpoint, nil, codes.PermissionDenied) }, probes.Unclear, "PermissionDenied"},
		"strangers are not known":    {func(h *fakeHost) { registered(h); h.answers(endpoint, nil, codes.Unauthenticated) }, probes.Unclear, "Unauthenticated"},
		"no registry":                {func(h *fakeHost) { must(h.t, os.RemoveAll(h.at(registry))) }, probes.Unclear, "no such file"},
		"no kubelet":                 {func(h *fakeHost) { must(h.t, os.RemoveAll(h.at(kubelet))) }, probes.Unclear, "no such file"},
		"registry is a file":         {func(h *fakeHost) { must(h.t, os.RemoveAll(h.at(registry))); h.file(registry, "") }, probes.Unclear, "not a directory"},
		"registry leads to a file":   {func(h *fakeHost) { must(h.t, os.RemoveAll(h.at(registry))); h.link(registry, "/f"); h.file("/f", "") }, probes.Unclear, "not a directory"},
		"registry in a ring":         {func(h *fakeHost) { must(h.t, os.RemoveAll(h.at(registry))); h.link(registry, registry) }, probes.Unclear, "symbolic links"},
		"registry with too many":     {crowded, probes.Unclear, "more files"},
		"no root":                    {func(h *fakeHost) { must(h.t, os.RemoveAll(h.root)) }, probes.Unclear, "root folder"},
		"no process":                 {func(h *fakeHost) { must(h.t, os.RemoveAll(filepath.Join(h.of.Proc, "1"))) }, probes.Unclear, "host's process 1"},
		"root leads out of the host": {func(h *fakeHost) { must(h.t, os.Remove(filepath.Join(h.of.Proc, "1", "root"))) }, probes.Unclear, "root folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newFakeHost(t)
			row.set(h)
			began := time.Now()
			expect(t, h.fresh(), row.want, row.detail)
			if took := time.Since(began); took > 2*ask.Patience+2*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func say(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = c.Write([]byte(text)) }
}

// moved has the kubelet's folder elsewhere, with an absolute symlink that would lead out of the host in another root.
func moved(h *fakeHost) {
	must(h.t, os.RemoveAll(h.at(kubelet)))
	h.link(kubelet, "/data/kubelet")
	h.registers("/data/kubelet/plugins_registry/r.sock", kind, driver, endpoint)
	h.answers("/data/kubelet/plugins/driver/csi.sock", nil, codes.OK)
}

func replaced(h *fakeHost) {
	h.registers(odd, kind, driver, "/former.sock")
	h.listen("/former.sock")
	h.registers(usual, kind, driver, endpoint)
	h.answers(endpoint, nil, codes.OK)
}

func crowded(h *fakeHost) {
	for i := range maxEntries + 1 {
		h.file(fmt.Sprintf("%s/%d", registry, i), "")
	}
}

// A host's symlink is the host's: the same path in this process's root is another folder, and not looked at.
func TestSymlinksStayOnTheHost(t *testing.T) {
	h, outside := newFakeHost(t), newFakeHost(t)
	outside.registers(usual, kind, driver, endpoint)
	outside.answers(endpoint, nil, codes.OK)
	must(t, os.RemoveAll(h.at(registry)))
	h.link(registry, outside.at(registry))
	expect(t, h.fresh(), probes.Unclear, "no such file")

	h = newFakeHost(t)
	h.registers(usual, kind, driver, outside.at(endpoint))
	expect(t, h.fresh(), probes.NotReady, "no socket")
	h = newFakeHost(t)
	h.registers(usual, kind, driver, "/../../../../../.."+outside.at(endpoint))
	expect(t, h.fresh(), probes.NotReady, "no socket")
	h = newFakeHost(t)
	h.link(endpoint, "/proc/self/root"+outside.at(endpoint))
	h.registers(usual, kind, driver, endpoint)
	expect(t, h.fresh(), probes.NotReady, "no socket")
}

// Without a certain folder of the kubelet that a driver is absent proves nothing; that it is there does.
func TestUncertainKubelets(t *testing.T) {
	h := newFakeHost(t)
	fresh := func(certain bool, kubelets ...string) probes.Freshness {
		return Fresh(context.Background(), ask.CSI{Root: h.of, Kubelets: kubelets, Certain: certain, Driver: driver})
	}
	expect(t, fresh(false, kubelet), probes.Unclear, "not known where this kubelet")
	expect(t, fresh(false), probes.Unclear, "no folder")
	expect(t, fresh(true), probes.Unclear, "no folder")
	expect(t, fresh(true, "/a", "/b"), probes.Unclear, "/b/plugins_registry")
	expect(t, fresh(true, "/a", kubelet), probes.NotReady, "not registered")
	h.registers("/data/plugins_registry/r.sock", kind, driver, endpoint)
	h.answers(endpoint, nil, codes.OK)
	expect(t, fresh(true, kubelet), probes.NotReady, "not registered")
	expect(t, fresh(false, "/a", kubelet, "/data"), probes.Ready, "")
	expect(t, fresh(true, "/data", "/data/plugins_registry"), probes.Ready, "")
}

// More connections than a hung driver's socket holds are no reason to wait, nor to call it unclear.
func TestBacklogIsFull(t *testing.T) {
	h := newFakeHost(t)
	h.registers(usual, kind, driver, endpoint)
	h.listen(endpoint)
	fill(t, h.at(endpoint))
	expect(t, h.fresh(), probes.NotReady, "does not answer")
}

// fill connects until the kernel takes no more.
func fill(t *testing.T, path string) {
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

func TestDriverOf(t *testing.T) {
	const folder = kubelet + "/pods/u/volumes/kubernetes.io~csi/pv"
	for name, row := range map[string]struct {
		text   string
		driver string
		err    error
	}{
		"as the kubelet writes it": {`{"attachmentID":"csi-1","driverName":"a.b","nodeName":"n","specVolID":"pv","volumeHandle":"h","volumeLifecycleMode":"Persistent"}`, "a.b", nil},
		"little":                   {`{"driverName":"a.b"}`, "a.b", nil},
		"no driver":                {`{"specVolID":"pv"}`, "", errOf("names no driver")},
		"empty driver":             {`{"driverName":""}`, "", errOf("names no driver")},
		"empty":                    {"", "", errOf("not understood")},
		"cut":                      {`{"driverName":"a.`, "", errOf("not understood")},
		"list":                     {`["driverName"]`, "", errOf("not understood")},
		"number":                   {`{"driverName":7}`, "", errOf("not understood")},
		"too large":                {`{"driverName":"` + strings.Repeat("a", maxFile) + `"}`, "", errOf("more than")},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t)
			h.file(folder+"/vol_data.json", row.text)
			got, err := DriverOf(ask.Volume{Root: h.of, Folder: folder})
			if got != row.driver || (err == nil) != (row.err == nil) || err != nil && !strings.Contains(err.Error(), row.err.Error()) {
				t.Errorf("got %q, %v, want %q, %v", got, err, row.driver, row.err)
			}
		})
	}
}

func TestDriverOfNoFile(t *testing.T) {
	h := newFakeHost(t)
	h.folder("/v/vol_data.json")
	h.file("/secret", `{"driverName":"outside"}`)
	h.link("/out/vol_data.json", h.at("/secret"))
	h.listen("/s/vol_data.json")
	for _, folder := range []string{"/v", "/out", "/s", "/none", "", "/secret"} {
		if got, err := DriverOf(ask.Volume{Root: h.of, Folder: folder}); err == nil || got != "" {
			t.Errorf("%q: %q", folder, got)
		}
	}
	if _, err := DriverOf(ask.Volume{Root: ask.Root{Proc: h.of.Proc, PID: 2}, Folder: "/v"}); err == nil {
		t.Error("there is no such process")
	}
}
