package config_test

import (
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/probes"
)

// annotated returns a pod with two watchable volumes and pairs of annotations, whose keys lack the
// prefix.
func annotated(pairs ...string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"example.com/mode": "Destroy"}},
		Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "d"}}},
				{Name: "logs", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s"}}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			Containers: []corev1.Container{
				{Name: "app", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "scratch", MountPath: "/tmp"}}},
				{Name: "side", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/in"}, {Name: "logs", MountPath: "/out"}}},
			},
		},
	}
	for i := 0; i < len(pairs); i += 2 {
		pod.Annotations[config.AnnotationPrefix+pairs[i]] = pairs[i+1]
	}
	return pod
}

// defaultPolicy is the policy of annotated("watch", "true").
func defaultPolicy() config.Policy {
	return config.Policy{
		Watch: true, Mode: "Remediate", Action: "Evict",
		Period: 10 * time.Second, Timeout: 5 * time.Second, FailureThreshold: 3, Hang: 40 * time.Second,
		Containers: []probes.Container{
			{Name: "app", Mounts: []probes.Mount{dataAt("/data"), scratchAt("/tmp")}},
			{Name: "side", Mounts: []probes.Mount{dataAt("/in"), logsAt("/out")}},
		},
	}
}

func dataAt(path string) probes.Mount {
	return probes.Mount{Volume: "data", Path: path, Host: probes.HostVolume{Folder: "kubernetes.io~csi/data/mount"}}
}

func logsAt(path string) probes.Mount {
	return probes.Mount{Volume: "logs", Path: path, Host: probes.HostVolume{Folder: "kubernetes.io~nfs/logs"}}
}

func scratchAt(path string) probes.Mount {
	return probes.Mount{Volume: "scratch", Path: path, BelowOnly: true, Host: probes.HostVolume{Folder: "kubernetes.io~empty-dir/scratch"}}
}

// only is the usual policy with one container and its mounts, of which the others are not watched.
func only(container string, others []string, mounts ...probes.Mount) func(*config.Policy) {
	return func(p *config.Policy) {
		p.Containers = []probes.Container{{Name: container, Mounts: mounts, Others: others}}
	}
}

// each changes every mount of the usual policy.
func each(change func(*probes.Mount)) func(*config.Policy) {
	return func(p *config.Policy) {
		for _, c := range p.Containers {
			for i := range c.Mounts {
				change(&c.Mounts[i])
			}
		}
	}
}

func TestPodsThatHaveNotOptedIn(t *testing.T) {
	for name, pod := range map[string]*corev1.Pod{
		"no annotations": {},
		"none of ours":   annotated(),
		"opted out":      annotated("watch", "false"),
		"others of ours": annotated("mode", "Destroy", "no-such", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.ParsePolicy(pod, valid())
			if diff := cmp.Diff(config.Policy{}, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestParsePolicyAccepts(t *testing.T) {
	for name, tc := range map[string]struct {
		annotations []string
		want        func(*config.Policy)
	}{
		"nothing more":      {nil, func(*config.Policy) {}},
		"report":            {[]string{"mode", "Report"}, func(p *config.Policy) { p.Mode = config.ModeReport }},
		"remediate":         {[]string{"mode", "Remediate"}, func(*config.Policy) {}},
		"delete":            {[]string{"action", "Delete"}, func(p *config.Policy) { p.Action = config.ActionDelete }},
		"period":            {[]string{"period-seconds", "1"}, func(p *config.Policy) { p.Period = time.Second }},
		"timeout":           {[]string{"timeout-seconds", "40"}, func(p *config.Policy) { p.Timeout = 40 * time.Second }},
		"threshold":         {[]string{"failure-threshold", "1"}, func(p *config.Policy) { p.FailureThreshold = 1 }},
		"initial delay":     {[]string{"initial-delay-seconds", "86400"}, func(p *config.Policy) { p.InitialDelay = 24 * time.Hour }},
		"hang":              {[]string{"hang-seconds", "5"}, func(p *config.Policy) { p.Hang = 5 * time.Second }},
		"settle":            {[]string{"settle-seconds", "300"}, func(p *config.Policy) { p.Settle = 5 * time.Minute }},
		"unmanaged":         {[]string{"allow-unmanaged", "true"}, func(p *config.Policy) { p.AllowUnmanaged = true }},
		"managed":           {[]string{"allow-unmanaged", "false"}, func(*config.Policy) {}},
		"one volume":        {[]string{"volumes", "logs"}, only("side", []string{"/in"}, logsAt("/out"))},
		"volumes":           {[]string{"volumes", "logs , data,scratch"}, each(func(m *probes.Mount) { m.BelowOnly = false })},
		"one container":     {[]string{"containers", "side"}, only("side", nil, dataAt("/in"), logsAt("/out"))},
		"volume, container": {[]string{"volumes", "data", "containers", "side"}, only("side", []string{"/out"}, dataAt("/in"))},
		"named emptyDir": {[]string{"volumes", "scratch"}, only("app", []string{"/data"}, probes.Mount{
			Volume: "scratch", Path: "/tmp", Host: probes.HostVolume{Folder: "kubernetes.io~empty-dir/scratch"},
		})},
		"canary file": {[]string{"canary-file", "a/b c"}, each(func(m *probes.Mount) {
			if !m.BelowOnly {
				m.Canary.File = "a/b c"
			}
		})},
		"canary directory": {[]string{"canary-directory", "..data"}, each(func(m *probes.Mount) {
			if !m.BelowOnly {
				m.Canary.Directory = "..data"
			}
		})},
		"expected mounts": {[]string{"expect-mounts", "scratch/a/b=fuse.sshfs, scratch/c"}, each(func(m *probes.Mount) {
			if m.Volume == "scratch" {
				m.Expected = []probes.Expected{{Path: "a/b", FSType: "fuse.sshfs"}, {Path: "c"}}
			}
		})},
		"expected elsewhere": {[]string{"volumes", "logs", "containers", "app,side", "expect-mounts", "scratch/a"}, func(p *config.Policy) {
			scratch := scratchAt("/tmp")
			scratch.Expected = []probes.Expected{{Path: "a"}}
			p.Containers = []probes.Container{
				{Name: "app", Mounts: []probes.Mount{scratch}, Others: []string{"/data"}},
				{Name: "side", Mounts: []probes.Mount{logsAt("/out")}, Others: []string{"/in"}},
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaultPolicy()
			tc.want(&want)
			got, err := config.ParsePolicy(annotated(append(tc.annotations, "watch", "true")...), valid())
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// An invalid annotation is named, takes away the right to act and changes nothing else.
func TestParsePolicyRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		annotations []string
		words       []string
	}{
		"watch yes":             {[]string{"watch", "yes"}, []string{`watch "yes"`, "true, false"}},
		"watch True":            {[]string{"watch", "True"}, []string{`watch "True"`}},
		"watch 1":               {[]string{"watch", "1"}, []string{`watch "1"`}},
		"watch empty":           {[]string{"watch", ""}, []string{`watch ""`}},
		"watch blank":           {[]string{"watch", "true "}, []string{`watch "true "`}},
		"unknown key":           {[]string{"perod-seconds", "1"}, []string{"mountwarden.io/perod-seconds", config.AnnotationPeriodSeconds}},
		"paused":                {[]string{"paused", "backup"}, []string{`"mountwarden.io/paused"`, "Namespace or a Node", "mountwarden.io/mode to Report"}},
		"paused is false":       {[]string{"paused", "false"}, []string{`"mountwarden.io/paused"`}},
		"paused and unknown":    {[]string{"paused", "x", "pause", "x"}, []string{"Namespace or a Node", `"mountwarden.io/pause"`, config.AnnotationMode}},
		"key of another case":   {[]string{"Mode", "Report"}, []string{"mountwarden.io/Mode"}},
		"no key":                {[]string{"", "x"}, []string{`"mountwarden.io/"`}},
		"canary absolute":       {[]string{"canary-file", "/etc/passwd"}, []string{`canary-file "/etc/passwd"`, "relative"}},
		"canary outside":        {[]string{"canary-file", "a/../../b"}, []string{`canary-file "a/../../b"`}},
		"canary not plain":      {[]string{"canary-directory", "a//b"}, []string{`canary-directory "a//b"`}},
		"canary is the volume":  {[]string{"canary-directory", "."}, []string{`canary-directory "."`}},
		"canary empty":          {[]string{"canary-file", ""}, []string{`canary-file ""`}},
		"canary long":           {[]string{"canary-file", strings.Repeat("x", 1025)}, []string{"canary-file"}},
		"expected nothing":      {[]string{"expect-mounts", ""}, []string{`expect-mounts ""`, "VOLUME/PATH"}},
		"expected absolute":     {[]string{"expect-mounts", "/data/x"}, []string{`expect-mounts "/data/x"`}},
		"expected no path":      {[]string{"expect-mounts", "data"}, []string{`expect-mounts "data"`}},
		"expected outside":      {[]string{"expect-mounts", "data/../x"}, []string{`expect-mounts "data/../x"`}},
		"expected no volume":    {[]string{"expect-mounts", "other/x"}, []string{`expect-mounts "other/x"`, "data, logs, scratch"}},
		"expected no type":      {[]string{"expect-mounts", "data/x="}, []string{`expect-mounts "data/x="`}},
		"expected too many":     {[]string{"expect-mounts", strings.Repeat("data/x,", 32) + "data/x"}, []string{"expect-mounts", "1 to 32"}},
		"mode of another case":  {[]string{"mode", "report"}, []string{`mode "report"`, "Remediate, Report"}},
		"empty mode":            {[]string{"mode", ""}, []string{`mode ""`}},
		"unknown action":        {[]string{"action", "Restart"}, []string{`action "Restart"`, "Evict, Delete"}},
		"two actions":           {[]string{"action", "Evict,Delete"}, []string{`action "Evict,Delete"`}},
		"period 0":              {[]string{"period-seconds", "0"}, []string{`period-seconds "0"`, "1 to 86400"}},
		"period above":          {[]string{"period-seconds", "86401"}, []string{`period-seconds "86401"`}},
		"period negative":       {[]string{"period-seconds", "-1"}, []string{`period-seconds "-1"`}},
		"period with a sign":    {[]string{"period-seconds", "+1"}, []string{`period-seconds "+1"`}},
		"period octal":          {[]string{"period-seconds", "010"}, []string{`period-seconds "010"`}},
		"period hexadecimal":    {[]string{"period-seconds", "0x10"}, []string{`period-seconds "0x10"`}},
		"period with a unit":    {[]string{"period-seconds", "10s"}, []string{`period-seconds "10s"`}},
		"period fraction":       {[]string{"period-seconds", "1.5"}, []string{`period-seconds "1.5"`}},
		"period blank":          {[]string{"period-seconds", " 1"}, []string{`period-seconds " 1"`}},
		"period empty":          {[]string{"period-seconds", ""}, []string{`period-seconds ""`}},
		"period overflow":       {[]string{"period-seconds", "9223372036854775808"}, []string{"period-seconds"}},
		"period other digits":   {[]string{"period-seconds", "١"}, []string{"period-seconds"}},
		"timeout 0":             {[]string{"timeout-seconds", "0"}, []string{`timeout-seconds "0"`, "1 to 300"}},
		"timeout above":         {[]string{"timeout-seconds", "301"}, []string{`timeout-seconds "301"`}},
		"threshold 0":           {[]string{"failure-threshold", "0"}, []string{`failure-threshold "0"`}},
		"threshold above":       {[]string{"failure-threshold", "1001"}, []string{`failure-threshold "1001"`}},
		"initial delay":         {[]string{"initial-delay-seconds", "-1"}, []string{`initial-delay-seconds "-1"`}},
		"settle":                {[]string{"settle-seconds", "86401"}, []string{`settle-seconds "86401"`}},
		"hang above":            {[]string{"hang-seconds", "86401"}, []string{`hang-seconds "86401"`}},
		"unmanaged":             {[]string{"allow-unmanaged", "yes"}, []string{`allow-unmanaged "yes"`, "true, false"}},
		"volume of no pod":      {[]string{"volumes", "data,logs,other"}, []string{`volumes "other"`, "data, logs, scratch"}},
		"host path as volume":   {[]string{"volumes", "data,logs,/var/lib"}, []string{`volumes "/var/lib"`}},
		"volume twice a comma":  {[]string{"volumes", "data,,logs"}, []string{`volumes ""`}},
		"container of no pod":   {[]string{"containers", "app,side,other"}, []string{`containers "other"`, "app, side"}},
		"forged line":           {[]string{"mode", "Report\nlevel=info"}, []string{`mode "Report\nlevel=info"`}},
		"megabyte":              {[]string{"mode", strings.Repeat("x", 1<<20)}, []string{`x..."`}},
		"two at once":           {[]string{"mode", "?", "action", "!"}, []string{`mode "?"`, `action "!"`}},
		"valid and not":         {[]string{"period-seconds", "10", "timeout-seconds", "x"}, []string{`timeout-seconds "x"`}},
		"prefix of another key": {[]string{"watch/x", "true"}, []string{"mountwarden.io/watch/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.ParsePolicy(annotated(append([]string{"watch", "true"}, tc.annotations...)...), valid())
			requireInvalid(t, err, tc.words...)
			if len(err.Error()) > 4096 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			want := defaultPolicy()
			want.Mode = config.ModeReport
			if tc.annotations[0] == "volumes" { // each names the same two, and something else
				only("app", []string{"/tmp"}, dataAt("/data"))(&want)
				want.Containers = append(want.Containers, defaultPolicy().Containers[1])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A namespace's or a node's annotation is none that a pod may ask with.
func TestPausedIsNoAnnotationOfPods(t *testing.T) {
	if slices.Contains(config.Annotations(), config.AnnotationPaused) {
		t.Error("listed as an annotation of a pod")
	}
	if got, err := config.ParsePolicy(annotated("paused", "backup"), valid()); err != nil || got.Watch {
		t.Errorf("a pod that has not opted in: %+v, %v", got, err)
	}
}

func TestWatches(t *testing.T) {
	p := defaultPolicy()
	for target, want := range map[probes.Target]bool{
		{Container: "app", Volume: "data", Path: "/data"}:       true,
		{Container: "app", Volume: "data", Path: "/data/below"}: true,
		{Container: "app", Volume: "data", Path: "/database"}:   false,
		{Container: "app", Volume: "data", Path: "/"}:           false,
		{Container: "app", Volume: "logs", Path: "/data"}:       false,
		{Container: "side", Volume: "data", Path: "/data"}:      false,
		{Container: "other", Volume: "data", Path: "/data"}:     false,
		{}: false,
	} {
		if got := p.Watches(target); got != want {
			t.Errorf("%+v: %v", target, got)
		}
	}
}

func TestTheValidRestIsKept(t *testing.T) {
	got, err := config.ParsePolicy(annotated("watch", "true", "mode", "Remediate", "action", "Delete", "period-seconds", "2", "volumes", "logs,nothing"), valid())
	requireInvalid(t, err, `volumes "nothing"`)
	want := defaultPolicy()
	want.Mode, want.Action, want.Period = config.ModeReport, config.ActionDelete, 2*time.Second
	only("side", []string{"/in"}, logsAt("/out"))(&want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHangIsNeverLessThanTimeout(t *testing.T) {
	for _, pairs := range [][]string{{"hang-seconds", "4"}, {"timeout-seconds", "41"}, {"hang-seconds", "9", "timeout-seconds", "10"}} {
		got, err := config.ParsePolicy(annotated(append(pairs, "watch", "true")...), valid())
		requireInvalid(t, err, config.AnnotationHangSeconds, "no less than the timeout")
		if got.Mode != config.ModeReport || got.Hang < got.Timeout {
			t.Errorf("%v: mode %s, hang %v, timeout %v", pairs, got.Mode, got.Hang, got.Timeout)
		}
	}
}

func TestLimits(t *testing.T) {
	limited := valid()
	limited.Limits = config.Limits{MinPeriodSeconds: 5, AllowedActions: []config.Action{"Evict"}}
	for _, pairs := range [][]string{{"period-seconds", "5"}, {"action", "Evict"}, {"allow-unmanaged", "false"}} {
		if got, err := config.ParsePolicy(annotated(append(pairs, "watch", "true")...), limited); err != nil || got.Mode != config.ModeRemediate {
			t.Errorf("%v: mode %s, %v", pairs, got.Mode, err)
		}
	}
	for _, tc := range []struct{ key, value, allowed string }{
		{"period-seconds", "4", "5 to 86400"},
		{"action", "Delete", "one of Evict"},
		{"allow-unmanaged", "true", "limits.allowUnmanaged"},
	} {
		got, err := config.ParsePolicy(annotated("watch", "true", tc.key, tc.value), limited)
		requireInvalid(t, err, tc.key, tc.value, tc.allowed)
		want := defaultPolicy()
		want.Mode = config.ModeReport
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", tc.key, diff)
		}
	}
}

func TestDefaultsOfTheFile(t *testing.T) {
	c := valid()
	c.Defaults.Mode, c.Defaults.PeriodSeconds = config.ModeReport, 60
	if got, err := config.ParsePolicy(annotated("watch", "true"), c); err != nil || got.Mode != config.ModeReport || got.Period != time.Minute {
		t.Errorf("mode %s, period %v, %v", got.Mode, got.Period, err)
	}
	if got, err := config.ParsePolicy(annotated("watch", "true", "mode", "Remediate"), c); err != nil || got.Mode != config.ModeRemediate {
		t.Errorf("mode %s, %v: a default is no limit", got.Mode, err)
	}
}

// The message, and so the event made of it, is the same each time.
func TestErrorsAreStable(t *testing.T) {
	pod := annotated("watch", "true", "a", "1", "b", "2", "c", "3", "d", "4", "mode", "x")
	_, first := config.ParsePolicy(pod, valid())
	for range 20 {
		if _, err := config.ParsePolicy(pod, valid()); err.Error() != first.Error() {
			t.Fatalf("%q, then %q", first, err)
		}
	}
}

func TestParsePolicyLeavesThePodAlone(t *testing.T) {
	pod := annotated("watch", "true", "volumes", "logs,x")
	before := pod.DeepCopy()
	_, err := config.ParsePolicy(pod, valid())
	requireInvalid(t, err)
	if diff := cmp.Diff(before, pod); diff != "" {
		t.Errorf("the pod was changed (-before +after):\n%s", diff)
	}
}

// requireSound checks what holds for every policy, whatever the annotations.
func requireSound(t *testing.T, pod *corev1.Pod, p config.Policy, err error) {
	t.Helper()
	limits := valid().Limits
	if !p.Watch {
		if diff := cmp.Diff(config.Policy{}, p); err != nil || diff != "" {
			t.Errorf("not watched, yet %v\n%s", err, diff)
		}
		return
	}
	if p.Mode != config.ModeReport && err != nil {
		t.Errorf("mode %s despite %v", p.Mode, err)
	}
	if err == nil && pod.Annotations[config.AnnotationWatch] != "true" {
		t.Errorf("watched though %q", pod.Annotations[config.AnnotationWatch])
	}
	if !slices.Contains(limits.AllowedActions, p.Action) || p.Period < time.Second || p.Timeout < time.Second || p.Hang < p.Timeout || p.FailureThreshold < 1 || p.InitialDelay < 0 || p.Settle < 0 {
		t.Errorf("out of bounds: %+v", p)
	}
	for _, c := range p.Containers {
		for _, m := range c.Mounts {
			if !defaultPolicy().Watches(probes.Target{Container: c.Name, Volume: m.Volume, Path: m.Path}) {
				t.Errorf("watches %+v, which is no mount of the pod", m)
			}
		}
	}
}

func TestEveryMixOfAnnotationsIsSound(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	values := []string{"true", "false", "", "1", "0", "5", "41", "86401", "-1", "Report", "Remediate", "Evict", "Delete", "data", "logs,scratch", "app", "data/x", "scratch/a=b", "side,app", "../x", "/"}
	keys := append(config.Annotations(), config.AnnotationPaused, config.AnnotationPrefix+"other")
	for range 5000 {
		pod := annotated()
		for range random.Intn(5) {
			pod.Annotations[keys[random.Intn(len(keys))]] = values[random.Intn(len(values))]
		}
		if random.Intn(4) > 0 {
			pod.Annotations[config.AnnotationWatch] = "true"
		}
		policy, err := config.ParsePolicy(pod, valid())
		requireSound(t, pod, policy, err)
		if t.Failed() {
			t.Fatalf("annotations %v", maps.Clone(pod.Annotations))
		}
	}
}

// FuzzAnnotations checks that no annotation panics, exceeds the bounds, or permits an act when it
// is invalid.
func FuzzAnnotations(f *testing.F) {
	for _, key := range config.Annotations() {
		f.Add("true", strings.TrimPrefix(key, config.AnnotationPrefix), "1")
	}
	f.Add("yes", "mode", "Report")
	f.Add("true", "volumes", "data,/etc")
	f.Add("true", "watch", "false")
	f.Fuzz(func(t *testing.T, watch, key, value string) {
		pod := annotated("watch", watch, key, value)
		policy, err := config.ParsePolicy(pod, valid())
		if err != nil {
			requireInvalid(t, err)
		}
		requireSound(t, pod, policy, err)
	})
}
