package csidriver_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/mountwarden/mountwarden/test/csidriver"
)

// objects reads all manifests; an unknown field is an error.
func objects(t *testing.T) []runtime.Object {
	t.Helper()
	files, err := filepath.Glob("manifests/*.yaml")
	must(t, err)
	decoder := scheme.Codecs.UniversalDeserializer()
	var all []runtime.Object
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
		for {
			buf := make([]byte, len(text))
			n, err := documents.Read(buf)
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			object, _, err := decoder.Decode(buf[:n], nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, object)
		}
	}
	return all
}

func TestManifestsNameTheDriver(t *testing.T) {
	seen := map[string]int{}
	for _, object := range objects(t) {
		switch o := object.(type) {
		case *storagev1.CSIDriver:
			seen["CSIDriver"]++
			checkCSIDriver(t, o)
		case *corev1.PersistentVolume:
			seen["PersistentVolume"]++
			if o.Spec.CSI.Driver != csidriver.Name {
				t.Errorf("PersistentVolume of driver %q", o.Spec.CSI.Driver)
			}
		case *corev1.Pod:
			seen["Pod"]++
			if source := o.Spec.Volumes[0].CSI; source != nil && source.Driver != csidriver.Name {
				t.Errorf("pod %s with a volume of driver %q", o.Name, source.Driver)
			}
		case *appsv1.DaemonSet:
			seen["DaemonSet"]++
			checkDaemonSet(t, o)
		}
	}
	if seen["CSIDriver"] != 1 || seen["PersistentVolume"] != 1 || seen["Pod"] != 2 || seen["DaemonSet"] != 1 {
		t.Errorf("found %v", seen)
	}
}

func checkCSIDriver(t *testing.T, o *storagev1.CSIDriver) {
	t.Helper()
	if o.Name != csidriver.Name || *o.Spec.AttachRequired || !*o.Spec.PodInfoOnMount || len(o.Spec.VolumeLifecycleModes) != 2 {
		t.Errorf("CSIDriver %+v", o)
	}
}

// checkDaemonSet looks at what a mount needs to reach the node.
func checkDaemonSet(t *testing.T, o *appsv1.DaemonSet) {
	t.Helper()
	container := o.Spec.Template.Spec.Containers[0]
	if !*container.SecurityContext.Privileged || container.ImagePullPolicy != corev1.PullNever {
		t.Errorf("container %+v", container)
	}
	propagation := map[string]corev1.MountPropagationMode{}
	for _, m := range container.VolumeMounts {
		if m.MountPropagation != nil {
			propagation[m.MountPath] = *m.MountPropagation
		}
	}
	for _, path := range []string{"/var/lib/kubelet/pods", "/var/lib/kubelet/plugins"} {
		if propagation[path] != corev1.MountPropagationBidirectional {
			t.Errorf("%s has propagation %q", path, propagation[path])
		}
	}
	for _, v := range o.Spec.Template.Spec.Volumes {
		if v.HostPath == nil {
			t.Errorf("volume %s is no hostPath", v.Name)
		}
	}
}
