package csidriver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/internal/packages"
	"github.com/mountwarden/mountwarden/test/internal/webdav"
)

// rcloneRequest asks for a volume of a WebDAV server whose canary is the tweet of the pod.
func rcloneRequest(t *testing.T, d *driver, pod string) (*csi.NodePublishVolumeRequest, *webdav.Server) {
	t.Helper()
	must(t, packages.Install(t.Context(), t.Output(), volume.Packages()...))
	r := d.publishRequest(pod, "data")
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "canary"), []byte(r.VolumeContext["content"]), 0o600))
	server, err := webdav.Start(root, "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, server.Kill()) })
	r.VolumeContext["program"], r.VolumeContext["url"] = "rclone", server.URL()
	return r, server
}

// An aborted connection is no case here: rclone takes its mount away when it sees that.
func TestVolumeOfRclone(t *testing.T) {
	for name, breakIt := range map[string]func(*faultfs.Client) error{
		"killed":             (*faultfs.Client).Kill,
		"stopped and killed": func(c *faultfs.Client) error { return errors.Join(c.Stop(), c.Kill()) },
	} {
		t.Run(name, func(t *testing.T) {
			d := startDriver(t)
			r, _ := rcloneRequest(t, d, "pod")
			d.publish(t, r)
			d.publish(t, r)
			wantCanary(t, r)
			if line := mountLine(t, r.GetTargetPath()); !strings.Contains(line, " - fuse.rclone ") || !strings.Contains(line, "allow_other") {
				t.Errorf("mount %q, want one of rclone that all users may enter", line)
			}
			must(t, breakIt(d.server(t, "pod", "data")))
			wantDead(t, r)
			d.publish(t, r)
			wantCanary(t, r)
			d.unpublish(t, r)
			wantGone(t, d, r.GetTargetPath())
		})
	}
}

func mountLine(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, " "+path+" ") {
			return line
		}
	}
	t.Fatalf("nothing is mounted at %s", path)
	return ""
}

// A volume whose server is away is published all the same, as rclone asks nobody before it mounts,
// and can be unpublished while its caller waits.
func TestVolumeOfRcloneWithoutItsServer(t *testing.T) {
	d := startDriver(t)
	r, server := rcloneRequest(t, d, "pod")
	must(t, server.Kill())
	d.publish(t, r)
	stuck := startCat(t, canaryOf(r))
	d.unpublish(t, r)
	wantGone(t, d, r.GetTargetPath())
	if got := stuck.wait(t); got == r.VolumeContext["content"] {
		t.Errorf("read %q although the server is away", got)
	}
}

func TestProgramsOfRequests(t *testing.T) {
	d := startDriver(t)
	for attribute, c := range map[string]struct{ value, field string }{
		"program":      {"sshfs", `"sshfs"`},
		"url":          {"http://192.0.2.1", `"http://192.0.2.1"`},
		"backend":      {"relative", `"relative"`},
		"backendGrace": {"soon", `backendGrace="soon"`},
	} {
		r := d.publishRequest("pod", "data")
		r.VolumeContext[attribute] = c.value
		_, err := d.NodePublishVolume(deadline(t), r)
		if err == nil || !strings.Contains(err.Error(), "InvalidArgument") || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%s: got %v, want an InvalidArgument that names %s", attribute, err, c.field)
		}
		wantGone(t, d, r.GetTargetPath())
	}
}

func TestBackendOfAVolume(t *testing.T) {
	d := startDriver(t)
	r := d.publishRequest("pod", "data")
	r.VolumeContext["backend"], r.VolumeContext["backendGrace"] = filepath.Join(d.root, "backend"), "1ms"
	d.publish(t, r)
	server := d.server(t, "pod", "data")
	eventually(t, "lookups hang", func() bool {
		s, err := server.Status()
		must(t, err)
		return s.Faults[faultfs.Lookup] == faultfs.Hang()
	})
	must(t, os.WriteFile(filepath.Join(d.root, "backend"), nil, 0o600))
	eventually(t, "lookups are answered", func() bool { s, err := server.Status(); must(t, err); return len(s.Faults) == 0 })
	wantCanary(t, r)
}
