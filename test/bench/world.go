package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/test/internal/apiserver"
)

// Where the pods are, as far as the API server knows.
const (
	nodeName  = "bench-node"
	namespace = "bench"
)

// world is the node: its API server, and pods that are really there.
type world struct {
	setting
	api  *apiserver.Server
	made int // pods so far
}

func newWorld(ctx context.Context, s setting) (*world, error) {
	api, err := apiserver.Start(ctx, apiserver.Options{Etcd: s.Options.Etcd, APIServer: s.Options.APIServer, Dir: s.Dir})
	if err != nil {
		return nil, err
	}
	w := &world{setting: s, api: api}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := api.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		w.close()
		return nil, fmt.Errorf("make the namespace: %w", err)
	}
	return w, nil
}

func (w *world) close() { w.api.Stop() }

// pod is one that runs: an object, a container, and a FUSE daemon, or one for each volume.
type pod struct {
	object    *corev1.Pod
	container *container
	daemons   []*child
	dirs      []string // where the kubelet has its volumes
}

// kind says how pods are made.
type kind struct {
	volumes int
	silent  bool // volumes that never answer
	apart   bool // a daemon for each volume, not for each pod
}

// run makes pods and returns when their containers run and the API server says so.
func (w *world) run(ctx context.Context, n int, k kind) (pods []*pod, err error) {
	for range n {
		p, err := w.create(ctx, k)
		if err != nil {
			w.end(ctx, pods)
			return nil, fmt.Errorf("make a pod: %w", err)
		}
		pods = append(pods, p)
	}
	for _, p := range pods {
		if err := w.show(ctx, p); err != nil {
			w.end(ctx, pods)
			return nil, fmt.Errorf("run pod %s: %w", p.object.Name, err)
		}
	}
	return pods, nil
}

func (w *world) create(ctx context.Context, k kind) (*pod, error) {
	w.made++
	object, err := w.api.Client.CoreV1().Pods(namespace).Create(ctx, podObject(fmt.Sprintf("pod-%d", w.made), k.volumes), metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	p := &pod{object: object}
	t := containerTask{Root: filepath.Join(w.Dir, "roots", object.Name), Binds: map[string]string{}}
	for i, v := range object.Spec.Volumes {
		dir := filepath.Join(w.Dir, "kubelet/pods", string(object.UID), "volumes/kubernetes.io~csi", v.Name, "mount")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		p.dirs = append(p.dirs, dir)
		t.Binds[object.Spec.Containers[0].VolumeMounts[i].MountPath] = dir
	}
	if err := p.serve(k); err != nil {
		return nil, err
	}
	p.container, err = startContainer(w.Group, t)
	return p, err
}

// serve starts the FUSE daemons.
func (p *pod) serve(k kind) error {
	groups := [][]string{p.dirs}
	if k.apart {
		groups = nil
		for _, dir := range p.dirs {
			groups = append(groups, []string{dir})
		}
	}
	for _, dirs := range groups {
		d, err := start("daemon", daemonTask{Dirs: dirs, Silent: k.silent}, nil)
		if err != nil {
			return err
		}
		p.daemons = append(p.daemons, d)
	}
	var errs []error
	for _, d := range p.daemons {
		errs = append(errs, d.ready())
	}
	return errors.Join(errs...)
}

// show writes the status that a kubelet would.
func (w *world) show(ctx context.Context, p *pod) error {
	if err := p.container.ready(); err != nil {
		return err
	}
	p.object.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "app", ContainerID: "containerd://" + p.container.id,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Add(-time.Hour))}},
	}}}
	_, err := w.api.Client.CoreV1().Pods(namespace).UpdateStatus(ctx, p.object, metav1.UpdateOptions{})
	return err
}

// end ends pods as a kubelet does: daemons last, so that nothing hangs, then the objects.
func (w *world) end(ctx context.Context, pods []*pod) {
	now := int64(0)
	for _, p := range pods {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err := w.api.Client.CoreV1().Pods(namespace).Delete(call, p.object.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		cancel()
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: delete pod:", err)
		}
		for _, d := range p.daemons {
			d.kill()
		}
		if p.container != nil {
			p.container.kill()
		}
		for _, dir := range p.dirs {
			if err := unmount(dir); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
		}
	}
}

func podObject(name string, volumes int) *corev1.Pod {
	yes := true
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Annotations:     map[string]string{"mountwarden.io/watch": "true", "mountwarden.io/mode": "Report"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "owner", UID: types.UID("owner"), Controller: &yes}},
		},
		Spec: corev1.PodSpec{NodeName: nodeName, Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	for i := range volumes {
		volume := volumeName(i)
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{
			Name: volume, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "fuse.csi.example"}},
		})
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: "/" + volume})
	}
	return p
}

func volumeName(i int) string { return fmt.Sprintf("data-%02d", i) }
