package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/mountwarden/mountwarden/config"
)

// names are all that a page may speak of.
type names struct {
	literals map[string]bool // each text in quotes of the agent's code, and each name in JSON
	api      map[string]bool // kinds and fields of Kubernetes
	settings map[string]bool // keys of the configuration file and values of the chart, with dots
	metrics  map[string]bool
	alerts   map[string]bool
}

// elsewhere are names of others: Kubernetes' values, the CSI specification, other programs, Go.
func elsewhere() []string {
	return []string{
		"True", "False", "DisruptionTarget", "Bidirectional", "HostToContainer", "failurePolicy", "Recreate", "NodeStageVolume", "NodePublishVolume", "RequeueAfter",
		"canaryFile", "debounceThreshold", "checkInterval", "readTimeout", "retryBackoffInitial", "retryBackoffMax", "shutdownTimeout", "httpPort",
		"RemovePodsHavingTooManyRestarts", "ServerAliveInterval",
	}
}

func knownNames(t *testing.T) *names {
	t.Helper()
	n := &names{literals: map[string]bool{}, api: map[string]bool{}, settings: map[string]bool{}, metrics: map[string]bool{}, alerts: map[string]bool{}}
	n.readCode(t)
	n.readKubernetes()
	n.readSettings(t)
	for _, line := range strings.Split(readFile(t, "docs/metrics.md"), "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.Contains(cells[1], "mountwarden_") {
			name := strings.Trim(cells[1], " `")
			n.metrics[name] = true
			if strings.Contains(cells[2], "histogram") {
				n.metrics[name+"_bucket"], n.metrics[name+"_sum"], n.metrics[name+"_count"] = true, true, true
			}
		}
	}
	for _, a := range alerts(t) {
		n.alerts[a.Alert] = true
	}
	return n
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	must(t, err)
	return string(text)
}

// readCode takes every literal of the main module's code, the tests' left out.
func (n *names) readCode(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"cmd", "config", "controllers", "probes"} {
		must(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				ast.Inspect(file, n.take)
			}
			return err
		}))
	}
}

func (n *names) take(node ast.Node) bool {
	literal, ok := node.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return true
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return true
	}
	n.literals[text] = true
	if _, tag, found := strings.Cut(text, `json:"`); found {
		name, _, _ := strings.Cut(tag, `"`)
		name, _, _ = strings.Cut(name, ",")
		n.literals[name] = true
	}
	return true
}

func (n *names) readKubernetes() {
	for kind := range scheme.Scheme.AllKnownTypes() {
		n.api[kind.Kind] = true
	}
	seen := map[reflect.Type]bool{}
	for _, object := range []any{
		corev1.Pod{}, corev1.Event{}, corev1.PersistentVolume{}, corev1.PersistentVolumeClaim{}, appsv1.Deployment{}, appsv1.DaemonSet{}, batchv1.Job{},
		policyv1.PodDisruptionBudget{}, storagev1.StorageClass{}, storagev1.CSIDriver{},
	} {
		n.fields(reflect.TypeOf(object), seen)
	}
}

// fields takes the names of a type and of all types in it.
func (n *names) fields(of reflect.Type, seen map[reflect.Type]bool) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || seen[of] {
		return
	}
	seen[of] = true
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		n.api[name] = true
		n.fields(of.Field(i).Type, seen)
	}
}

func (n *names) readSettings(t *testing.T) {
	t.Helper()
	values := map[string]any{}
	must(t, yaml.Unmarshal([]byte(readFile(t, "charts/mountwarden/values.yaml")), &values))
	n.section("", values)
	for _, key := range config.Keys() {
		section, _, _ := strings.Cut(key, ".")
		n.settings[key], n.settings[section] = true, true
	}
}

func (n *names) section(path string, values map[string]any) {
	for key, value := range values {
		n.settings[path+key] = true
		if inner, ok := value.(map[string]any); ok {
			n.section(path+key+".", inner)
		}
	}
}

// problems are the names in a page that there are not.
func (n *names) problems(p page) (found []string) {
	for pattern, known := range map[string]func(string) bool{
		`\bmountwarden_[a-z_]+[a-z]`:           func(s string) bool { return n.metrics[s] },
		`\bMountwarden[A-Z][A-Za-z]+`:          func(s string) bool { return n.alerts[s] },
		`\bmountwarden\.io/[A-Za-z-]+[A-Za-z]`: n.annotation,
	} {
		for _, name := range regexp.MustCompile(pattern).FindAllString(p.words, -1) {
			if !known(name) {
				found = append(found, "there is no "+name)
			}
		}
	}
	for _, c := range p.codes {
		if !n.knows(c.text) {
			found = append(found, "there is no "+c.text)
		}
	}
	return found
}

func (n *names) annotation(name string) bool {
	return slices.Contains(config.Annotations(), name) || name == config.AnnotationPaused || n.literals[name]
}

// knows reports whether a word in backticks is known, as far as it looks like a name.
func (n *names) knows(word string) bool {
	word, _, _ = strings.Cut(word, ":")
	word, _, _ = strings.Cut(word, "=")
	first, _, dotted := strings.Cut(word, ".")
	matches := func(pattern string) bool { return regexp.MustCompile("^(" + pattern + ")$").MatchString(word) }
	switch {
	case dotted && n.settings[first] && matches(`[a-zA-Z.]+`) && !matches(`.*\.(go|md|yaml|json|css|html)`): // budgets.node
		return n.settings[word]
	case matches(`[a-z]+[A-Z][A-Za-z]*`): // followUpSeconds
		return n.settings[word] || n.literals[word] || n.api[word] || n.leaf(word) || slices.Contains(elsewhere(), word)
	case matches(`[a-z]+(-[a-z]+)*-(seconds|threshold|file|directory|mounts|unmanaged)`): // settle-seconds
		return n.annotation(config.AnnotationPrefix + word)
	case matches(`[A-Z][a-z]+[A-Za-z]*`): // NoFreshMount
		return n.literals[word] || n.api[word] || n.alerts[word] || slices.Contains(elsewhere(), word)
	}
	return true
}

// leaf reports whether a value of the chart ends with the word.
func (n *names) leaf(word string) bool {
	for setting := range n.settings {
		if strings.HasSuffix(setting, "."+word) {
			return true
		}
	}
	return false
}

// Every setting, annotation, metric, event reason, cause, reason to hold, and alert that a page names exists.
func TestEveryNameExists(t *testing.T) {
	known := knownNames(t)
	for _, p := range pages(t) {
		for _, problem := range known.problems(p) {
			t.Errorf("%s: %s", p.path, problem)
		}
	}
}

// What is excused must be needed: an excuse that nobody uses hides the next wrong name.
func TestEveryExcuseIsNeeded(t *testing.T) {
	used := map[string]bool{}
	for _, p := range pages(t) {
		for _, c := range p.codes {
			word, _, _ := strings.Cut(c.text, ":")
			used[word] = true
		}
	}
	for _, word := range elsewhere() {
		if !used[word] {
			t.Errorf("no page names %s", word)
		}
	}
}

func TestUnknownNamesAreFound(t *testing.T) {
	known := knownNames(t)
	for text, want := range map[string]string{
		"`mountwarden_nosuch_total`": "mountwarden_nosuch_total", "see mountwarden_nosuch": "mountwarden_nosuch", "MountwardenNosuch": "MountwardenNosuch",
		"```yaml\nmountwarden.io/nosuch: a\n```": "mountwarden.io/nosuch", "`mountwarden.io/nosuch-seconds`": "nosuch-seconds", "`nosuch-seconds`": "nosuch-seconds",
		"`budgets.nosuch`": "budgets.nosuch", "`config.nosuch: 1`": "config.nosuch", "`nosuchSeconds`": "nosuchSeconds", "`NosuchReason`": "NosuchReason", "`Nosuch`": "Nosuch",
		"`prometheusRule.rules.nosuch`": "rules.nosuch",
		"`budgets.node`, `followUpSeconds`, `settle-seconds`, `NoFreshMount`, `Hung`, `mountwarden_workers`, `mountwarden.io/paused`, `values.yaml`": "",
		"`mountwarden_probe_duration_seconds_bucket`, `mountPropagation`, `PodDisruptionBudget`, MountwardenGaveUp, `mountwarden.io/owner-name`":     "",
	} {
		got := strings.Join(known.problems(parse("x.md", []byte(text))), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
