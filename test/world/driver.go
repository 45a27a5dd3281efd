package world

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// plugins is where the kubelet's drivers keep their sockets.
const plugins = "/var/lib/kubelet/plugins"

const driverDaemonSet = "csidriver"

// Driver is one of the test CSI drivers that run on the node.
type Driver struct {
	Name      string
	namespace string
	world     *World
}

// StandingDriver is the one that is installed with the cluster, which everybody shares.
func (w *World) StandingDriver() Driver {
	return Driver{Name: DriverName, namespace: DriverNamespace, world: w}
}

// InstallDriver runs one more driver, in a namespace of its own, as the standing one is run but for
// its name and for what adapt changes. Mounts of one driver are one backend, so that a test which
// takes a backend down needs its own.
func (w *World) InstallDriver(ctx context.Context, namespace string, adapt func(*corev1.PodSpec)) (Driver, error) {
	d := Driver{Name: namespace + ".test.mountwarden.io", namespace: namespace, world: w}
	info, err := w.Client.StorageV1().CSIDrivers().Get(ctx, DriverName, metav1.GetOptions{})
	if err != nil {
		return d, fmt.Errorf("read the standing driver: %w", err)
	}
	info.ObjectMeta = metav1.ObjectMeta{Name: d.Name}
	if _, err := w.Client.StorageV1().CSIDrivers().Create(ctx, info, metav1.CreateOptions{}); err != nil {
		return d, fmt.Errorf("make the driver %s: %w", d.Name, err)
	}
	daemon, err := w.Client.AppsV1().DaemonSets(DriverNamespace).Get(ctx, driverDaemonSet, metav1.GetOptions{})
	if err != nil {
		return d, fmt.Errorf("read the standing driver: %w", err)
	}
	daemon.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: driverDaemonSet, Labels: daemon.Labels}
	d.rename(&daemon.Spec.Template.Spec.Containers[0])
	adapt(&daemon.Spec.Template.Spec)
	if _, err := w.Client.AppsV1().DaemonSets(namespace).Create(ctx, daemon, metav1.CreateOptions{}); err != nil {
		return d, fmt.Errorf("make the driver %s: %w", d.Name, err)
	}
	return d, d.AwaitReady(ctx, true)
}

// rename gives the container the paths of this driver.
func (d Driver) rename(c *corev1.Container) {
	endpoint := "--endpoint=unix://" + d.Path("csi.sock")
	c.Args = append(c.Args, "--name="+d.Name, endpoint, "--state-dir="+d.state())
	c.ReadinessProbe.Exec.Command = append(c.ReadinessProbe.Exec.Command, endpoint)
	c.ReadinessProbe.PeriodSeconds = 1
}

// Path is where a file of this name is that both the driver and the node see.
func (d Driver) Path(name string) string { return filepath.Join(plugins, d.Name, name) }

func (d Driver) state() string { return d.Path("volumes") }

// MountNodePrograms mounts the node's programs and libraries in the driver's container, for volumes
// that one of them serves: the image of the driver holds nothing but the driver.
func MountNodePrograms(spec *corev1.PodSpec) {
	c := &spec.Containers[0]
	for _, name := range []string{"usr", "lib", "lib64"} {
		path := "/" + name
		if _, err := os.Stat(path); err != nil {
			continue // not every architecture has lib64
		}
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: true})
	}
}

// Remove forgets the driver once nothing uses it; its namespace is its maker's to delete.
func (d Driver) Remove(ctx context.Context) error {
	if err := d.world.Client.StorageV1().CSIDrivers().Delete(ctx, d.Name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("remove the driver %s: %w", d.Name, err)
	}
	return os.RemoveAll(d.Path(""))
}

// AwaitReady waits until the driver's pod is ready, or until there is none.
func (d Driver) AwaitReady(ctx context.Context, wanted bool) error {
	return Until(ctx, fmt.Sprintf("the driver %s, ready=%t", d.Name, wanted), func(ctx context.Context) (bool, string) {
		list, err := d.world.Client.CoreV1().Pods(d.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=csidriver"})
		if err != nil {
			return false, err.Error()
		}
		if !wanted {
			return len(list.Items) == 0, describe(list.Items)
		}
		return len(list.Items) == 1 && Ready(&list.Items[0]), describe(list.Items)
	})
}

// Run takes the driver off the node, or brings it back. Its FUSE servers end with it.
func (d Driver) Run(ctx context.Context, wanted bool) error {
	var selector any // null takes the key away
	if !wanted {
		selector = map[string]string{"mountwarden.io/test": "nowhere"}
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"nodeSelector": selector}}}})
	if err != nil {
		return fmt.Errorf("change the driver %s: %w", d.Name, err)
	}
	_, err = d.world.Client.AppsV1().DaemonSets(d.namespace).Patch(ctx, driverDaemonSet, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("change the driver %s: %w", d.Name, err)
	}
	return d.AwaitReady(ctx, wanted)
}

// Fault breaks or mends one volume of a pod, by the name of an inline volume or of a PersistentVolume. No pod means any.
func (d Driver) Fault(ctx context.Context, pod *corev1.Pod, name string, fault ...string) error {
	args := []string{"exec", "-n", d.namespace, "daemonset/" + driverDaemonSet, "--", "/csidriver", "fault", "--state-dir", d.state(), "--volume", name}
	if pod != nil {
		args = append(args, "--pod", pod.Namespace+"/"+pod.Name)
	}
	_, err := d.world.Kubectl(ctx, append(args, fault...)...)
	return err
}

// Server returns the FUSE server behind an inline volume, for who is in a hurry.
func (d Driver) Server(pod *corev1.Pod, name string) (*faultfs.Client, error) {
	return volume.Find(d.state(), pod.Namespace+"/"+pod.Name, name)
}

// Log returns the lines of the driver's log.
func (d Driver) Log(ctx context.Context) (string, error) {
	return d.world.Kubectl(ctx, "logs", "-n", d.namespace, "daemonset/"+driverDaemonSet, "--tail=-1")
}
