package node

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
)

// BenchmarkProbe is one probe of a pod of ten healthy mounts on a node of 110 such pods. cpu-ns/op
// is the time that this process uses, without the worker's.
func BenchmarkProbe(b *testing.B) {
	var inside, outside []string
	for i := range 50 {
		inside = append(inside, fmt.Sprintf("0:%d /proc/%d proc", 200+i, i))
	}
	c := probes.Container{Name: "app", ID: testID}
	for i := range 10 {
		name := fmt.Sprintf("kubernetes.io~csi/v%d/mount", i)
		path := fmt.Sprintf("/data/%d", i)
		inside = append(inside, fmt.Sprintf("0:%d %s fuse.x", 70+i, path))
		outside = append(outside, fmt.Sprintf("0:%d /var/lib/kubelet/pods/%s/volumes/%s fuse.x", 70+i, uid, name))
		c.Mounts = append(c.Mounts, probes.Mount{Volume: fmt.Sprint(i), Path: path, Host: probes.HostVolume{Folder: name}})
	}
	for i := range 2500 {
		outside = append(outside, fmt.Sprintf("1:%d /var/lib/kubelet/pods/p%d/volumes/kubernetes.io~csi/v%d/mount fuse.x", i, i/10, i%10))
	}
	n := newFakeNode(b, Options{}, inside...)
	n.writeHostTable(outside...)
	n.hostTables.maxAge = hostTableMaxAge
	pod := probes.Pod{UID: uid, Containers: []probes.Container{c}}
	b.ReportAllocs()
	var before, after syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	for b.Loop() {
		for _, o := range n.Probe(context.Background(), pod, patience) {
			if o.Health != probes.Healthy || o.Warning != "" {
				b.Fatalf("%+v", o)
			}
		}
	}
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}
