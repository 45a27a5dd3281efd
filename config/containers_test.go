package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/probes"
)

// targets lists the mounts that a policy watches, without those that are watched for what is below
// them.
func targets(p config.Policy) (all []probes.Target) {
	for _, c := range p.Containers {
		for _, m := range c.Mounts {
			if !m.BelowOnly {
				all = append(all, probes.Target{Container: c.Name, Volume: m.Volume, Path: m.Path})
			}
		}
	}
	return all
}

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
			if tc.want != (len(targets(got)) == 1) {
				t.Errorf("targets %v, want it watched: %v", targets(got), tc.want)
			}
			if below := tc.source.EmptyDir != nil; (tc.want || below) != (err == nil) {
				t.Errorf("a pod with nothing to watch must hear of it, and only that: %v", err)
			}
			pod.Annotations[config.AnnotationVolumes] = "v"
			if got, err = config.ParsePolicy(pod, valid()); err != nil || len(targets(got)) != 1 {
				t.Errorf("named, yet targets %v, %v", targets(got), err)
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
			if got.Mode != config.ModeReport || got.Containers != nil {
				t.Errorf("mode %s, targets %v", got.Mode, targets(got))
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
	if diff := cmp.Diff(want, targets(got)); err != nil || diff != "" {
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
	if diff := cmp.Diff(want, targets(got)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestMountPathsAreMadeAbsoluteAndClean(t *testing.T) {
	for given, want := range map[string]string{
		"/data": "/data", "/data/": "/data", "data": "/data", "/a//b": "/a/b", "/a/./b": "/a/b", "/": "/", "/a b\n": "/a b\n", "../../etc": "/etc",
	} {
		got, err := config.ParsePolicy(podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, given), valid())
		if err != nil || len(targets(got)) != 1 || targets(got)[0].Path != want {
			t.Errorf("%q: %v, %v, want %q", given, targets(got), err, want)
		}
	}
}

func TestOneVolumeMountedTwice(t *testing.T) {
	pod := podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, "/a")
	pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: "/b", SubPath: "sub"})
	got, err := config.ParsePolicy(pod, valid())
	want := []probes.Target{{Container: "c", Volume: "v", Path: "/a"}, {Container: "c", Volume: "v", Path: "/b"}}
	if diff := cmp.Diff(want, targets(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestHostVolumes(t *testing.T) {
	yes := true
	for name, tc := range map[string]struct {
		source corev1.VolumeSource
		want   probes.Mount
	}{
		"csi":          {corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{ReadOnly: &yes}}, probes.Mount{ReadOnly: true, Host: probes.HostVolume{Folder: "kubernetes.io~csi/v/mount"}}},
		"claim":        {corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ReadOnly: true}}, probes.Mount{ReadOnly: true, Host: probes.HostVolume{Claim: true}}},
		"ephemeral":    {corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}, probes.Mount{Host: probes.HostVolume{Claim: true}}},
		"hostPath":     {corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/mnt/a/"}}, probes.Mount{Host: probes.HostVolume{Path: "/mnt/a/sub"}}},
		"nfs":          {corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{ReadOnly: true}}, probes.Mount{ReadOnly: true, Host: probes.HostVolume{Folder: "kubernetes.io~nfs/v"}}},
		"iscsi":        {corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{ReadOnly: true}}, probes.Mount{ReadOnly: true, Host: probes.HostVolume{Folder: "kubernetes.io~iscsi/v"}}},
		"fc":           {corev1.VolumeSource{FC: &corev1.FCVolumeSource{ReadOnly: true}}, probes.Mount{ReadOnly: true, Host: probes.HostVolume{Folder: "kubernetes.io~fc/v"}}},
		"flexVolume":   {corev1.VolumeSource{FlexVolume: &corev1.FlexVolumeSource{Driver: "x.com/d", ReadOnly: true}}, probes.Mount{ReadOnly: true, Host: probes.HostVolume{Folder: "x.com~d/v"}}},
		"another kind": {corev1.VolumeSource{Cinder: &corev1.CinderVolumeSource{}}, probes.Mount{}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := podOf(tc.source, "/v")
			pod.Spec.Containers[0].VolumeMounts[0].SubPath = "sub"
			tc.want.Volume, tc.want.Path = "v", "/v"
			got, err := config.ParsePolicy(pod, valid())
			if diff := cmp.Diff([]probes.Container{{Name: "c", Mounts: []probes.Mount{tc.want}}}, got.Containers); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	pod := podOf(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, "/v")
	pod.Spec.Containers[0].VolumeMounts[0].ReadOnly = true
	if got, err := config.ParsePolicy(pod, valid()); err != nil || !got.Containers[0].Mounts[0].ReadOnly {
		t.Errorf("a volumeMount that is read-only: %+v, %v", got.Containers, err)
	}
}
