package world

import (
	"cmp"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Canary is what the canary file of every volume holds.
const Canary = "the mount is alive"

// Mount is one volumeMount of an App's container: the volume of that name, at /NAME.
type Mount struct{ Container, Volume string }

// App says what a Deployment or a bare pod of a test looks like.
type App struct {
	Namespace, Name string
	Annotations     map[string]string
	Replicas        int32
	Mounts          []Mount // container "app" with volume "data" when empty
	Driver          string  // of its volumes; DriverName when empty
	Grace           int64   // terminationGracePeriodSeconds; 5 when 0
	Adapt           func(*corev1.PodSpec)
}

// Watched returns the annotations that opt a pod in, with pairs of key (without its prefix) and value added.
func Watched(pairs ...string) map[string]string {
	all := map[string]string{"mountwarden.io/watch": "true"}
	for i := 0; i+1 < len(pairs); i += 2 {
		all["mountwarden.io/"+pairs[i]] = pairs[i+1]
	}
	return all
}

// Deployment returns the App as a Deployment.
func (a App) Deployment() *appsv1.Deployment {
	replicas := max(1, a.Replicas)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: a.Selector(),
			Template: a.Template(),
		},
	}
}

// Template returns the App as a template for whatever makes pods.
func (a App) Template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: a.meta(), Spec: a.spec()}
}

// Selector selects the App's pods.
func (a App) Selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: a.labels()}
}

// Pod returns the App as a pod without a controller.
func (a App) Pod() *corev1.Pod {
	meta := a.meta()
	meta.Namespace, meta.Name = a.Namespace, a.Name
	return &corev1.Pod{ObjectMeta: meta, Spec: a.spec()}
}

func (a App) labels() map[string]string { return map[string]string{"app": a.Name} }

func (a App) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Labels: a.labels(), Annotations: a.Annotations}
}

func (a App) spec() corev1.PodSpec {
	grace := cmp.Or(a.Grace, 5)
	spec := corev1.PodSpec{TerminationGracePeriodSeconds: &grace}
	mounts := a.Mounts
	if len(mounts) == 0 {
		mounts = []Mount{{"app", "data"}}
	}
	containers, volumes := map[string]int{}, map[string]bool{}
	for _, m := range mounts {
		if _, ok := containers[m.Container]; !ok {
			containers[m.Container] = len(spec.Containers)
			spec.Containers = append(spec.Containers, idle(m.Container))
		}
		if m.Volume == "" {
			continue // a container that mounts nothing
		}
		c := &spec.Containers[containers[m.Container]]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: m.Volume, MountPath: "/" + m.Volume})
		if !volumes[m.Volume] {
			volumes[m.Volume] = true
			spec.Volumes = append(spec.Volumes, fuse(m.Volume, cmp.Or(a.Driver, DriverName)))
		}
	}
	if a.Adapt != nil {
		a.Adapt(&spec)
	}
	return spec
}

// idle returns a container that does nothing and ends a second after it is told to: the agent is so fast that a Lookout
// would else end with the container before it has told what it saw.
func idle(name string) corev1.Container {
	return corev1.Container{
		Name: name, Image: AppImage, ImagePullPolicy: corev1.PullNever,
		Command: []string{"/bin/sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 3600 & wait $!; done"},
	}
}

func fuse(name, driver string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
		Driver: driver, VolumeAttributes: map[string]string{"content": Canary},
	}}}
}
