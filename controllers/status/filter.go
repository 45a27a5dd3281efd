package status

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// NotHealthy is a Filter's state for every mount that is not Healthy or has a warning.
const NotHealthy = "NotHealthy"

// States lists what a Filter's state may be, "" for any left out.
func States() []string {
	return []string{NotHealthy, verdict.Failed.String(), verdict.Suspect.String(), probes.Unknown.String(), verdict.Healthy.String()}
}

// Filter chooses what is shown. The zero value is everything.
type Filter struct {
	Namespace string
	Pod       string
	State     string
}

// NewFilter makes a Filter of what a person typed: a namespace, NAME or NAMESPACE/NAME of a pod,
// and one of States. Each may be "". The error names the invalid value.
func NewFilter(namespace, pod, state string) (Filter, error) {
	f := Filter{Namespace: namespace, Pod: pod, State: state}
	if ns, name, found := strings.Cut(pod, "/"); found {
		if ns == "" || name == "" || strings.Contains(name, "/") {
			return Filter{}, fmt.Errorf("pod is %q; allowed are NAME and NAMESPACE/NAME", pod)
		}
		if namespace != "" && namespace != ns {
			return Filter{}, fmt.Errorf("pod is %q and namespace %q; allowed is one namespace", pod, namespace)
		}
		f.Namespace, f.Pod = ns, name
	}
	if state != "" && !slices.Contains(States(), state) {
		return Filter{}, fmt.Errorf("state is %q; allowed are %s", state, strings.Join(States(), ", "))
	}
	return f, nil
}

// Apply returns the snapshot with the pods, mounts and evictions that the Filter chooses. A state
// chooses mounts, and pods with such a mount. It leaves out no eviction. The given snapshot does
// not change.
func (f Filter) Apply(s Snapshot) Snapshot {
	if f == (Filter{}) {
		return s
	}
	pods, removals := []Pod{}, []Removal{}
	for _, p := range s.Pods {
		if !f.matchesPod(p.Namespace, p.Name) {
			continue
		}
		p.Mounts = slices.DeleteFunc(slices.Clone(p.Mounts), func(m Mount) bool { return !f.matchesMount(m) })
		if f.State == "" || len(p.Mounts) > 0 {
			pods = append(pods, p)
		}
	}
	for _, r := range s.Removals {
		if f.matchesPod(r.Namespace, r.Pod) {
			removals = append(removals, r)
		}
	}
	s.Pods, s.Removals = pods, removals
	return s
}

func (f Filter) matchesPod(namespace, pod string) bool {
	return (f.Namespace == "" || f.Namespace == namespace) && (f.Pod == "" || f.Pod == pod)
}

func (f Filter) matchesMount(m Mount) bool {
	if f.State == NotHealthy {
		return m.State != verdict.Healthy.String() || m.Warning != ""
	}
	return f.State == "" || f.State == m.State
}
