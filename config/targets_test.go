package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/probes"
)

// podOf returns an opted-in pod of one container that mounts one volume.
func podOf(source corev1.VolumeSource, mountPath string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{config.AnnotationWatch: "true"}},
		Spec: corev1.PodSpec{
			Volumes:    []corev1.Volume{{Name: "v", VolumeSource: source}},
			Containers: []corev1.Container{{Name: "c", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: mountPath}}}},
		},
	}
}

func TestVolumesWatchedByDefault(t *testing.T) {
	for name, tc := range map[string]struct {
		source corev1.VolumeSource
		want   bool
	}{
		"csi":                   {corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, true},
		"persistentVolumeClaim": {corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}, true},
		"ephemeral":             {corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}, true},
		"hostPath":              {corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}, true},
		"nfs":                   {corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}, true},
		"iscsi":                 {corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{}}, true},
		"fc":                    {corev1.VolumeSource{FC: &corev1.FCVolumeSource{}}, true},
		"configMap":             {corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}, false},
		"secret":                {corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}, false},
		"projected":             {corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}, false},
		"downwardAPI":           {corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}, false},
		"image":                 {corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}, false},
		"emptyDir":              {corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := podOf(tc.source, "/v")
			got, err := config.ParsePolicy(pod, valid())
			if tc.want != (len(got.Targets) == 1) {
				t.Errorf("targets %v, want it watched: %v", got.Targets, tc.want)
			}
			if tc.want != (err == nil) {
				t.Errorf("a pod with nothing to watch must hear of it, and only that: %v", err)
			}
			pod.Annotations[config.AnnotationVolumes] = "v"
			if got, err = config.ParsePolicy(pod, valid()); err != nil || len(got.Targets) != 1 {
				t.Errorf("named, yet targets %v, %v", got.Targets, err)
			}
		})
	}
}

func TestNothingToWatch(t *testing.T) {
	block := podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, "/v")
	block.Spec.Containers[0].VolumeMounts = nil
	block.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: "v", DevicePath: "/dev/v"}}
	init := podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, "/v")
	init.Spec.InitContainers, init.Spec.Containers = init.Spec.Containers, nil
	for name, pod := range map[string]*corev1.Pod{
		"block device":        block,
		"init container":      init,
		"not in this one":     annotated("watch", "true", "volumes", "logs", "containers", "app"),
		"only unknown volume": annotated("watch", "true", "volumes", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.ParsePolicy(pod, valid())
			requireInvalid(t, err, config.AnnotationWatch, config.AnnotationVolumes, config.AnnotationContainers)
			if got.Mode != config.ModeReport || got.Targets != nil {
				t.Errorf("mode %s, targets %v", got.Mode, got.Targets)
			}
		})
	}
}

func TestContainersThatAreWatched(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	never := corev1.ContainerRestartPolicyNever
	mounts := []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	pod := podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, "/v")
	pod.Spec.InitContainers = []corev1.Container{
		{Name: "init", VolumeMounts: mounts},
		{Name: "once", VolumeMounts: mounts, RestartPolicy: &never},
		{Name: "sidecar", VolumeMounts: mounts, RestartPolicy: &always},
	}
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", VolumeMounts: mounts}},
	}
	got, err := config.ParsePolicy(pod, valid())
	want := []probes.Target{{Container: "sidecar", Volume: "v", Path: "/v"}, {Container: "c", Volume: "v", Path: "/v"}, {Container: "debug", Volume: "v", Path: "/v"}}
	if diff := cmp.Diff(want, got.Targets); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	pod.Annotations[config.AnnotationContainers] = "init"
	_, err = config.ParsePolicy(pod, valid())
	requireInvalid(t, err, `containers "init"`, "sidecar, c, debug")
}

func TestOnePlaceIsWatchedOnce(t *testing.T) {
	pod := podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, "/v")
	pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: "/v/"})
	got, err := config.ParsePolicy(pod, valid())
	want := []probes.Target{{Container: "c", Volume: "v", Path: "/v"}}
	if diff := cmp.Diff(want, got.Targets); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestMountPathsAreMadeAbsoluteAndClean(t *testing.T) {
	for given, want := range map[string]string{
		"/data": "/data", "/data/": "/data", "data": "/data", "/a//b": "/a/b", "/a/./b": "/a/b", "/": "/", "/a b\n": "/a b\n", "../../etc": "/etc",
	} {
		got, err := config.ParsePolicy(podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, given), valid())
		if err != nil || len(got.Targets) != 1 || got.Targets[0].Path != want {
			t.Errorf("%q: %v, %v, want %q", given, got.Targets, err, want)
		}
	}
}

func TestOneVolumeMountedTwice(t *testing.T) {
	pod := podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, "/a")
	pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: "/b", SubPath: "sub"})
	got, err := config.ParsePolicy(pod, valid())
	want := []probes.Target{{Container: "c", Volume: "v", Path: "/a"}, {Container: "c", Volume: "v", Path: "/b"}}
	if diff := cmp.Diff(want, got.Targets); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
