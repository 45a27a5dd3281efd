package docs

import (
	"fmt"
	"slices"
	"strings"
)

// What kubectl says when all is right as far as that goes without a kubelet: the pod was found, its node has no address.
const noKubelet = "no preferred addresses found"

// checkKubectl runs kubectl on the API server. What would change something is a dry run there.
func (w *world) checkKubectl(args []string) []string {
	verb, inner := verbOf(args)
	args = args[:len(args)-len(inner)]
	if len(inner) > 0 {
		args, inner = args[:len(args)-1], append([]string{}, inner...)
	}
	switch {
	case slices.Contains([]string{"annotate", "label", "delete", "scale", "cordon", "apply", "create"}, verb) && !slices.Contains(args, "token"):
		args = append(args, "--dry-run=server")
	case verb == "status": // of a rollout, which nobody makes
		args = append(args, "--watch=false")
	}
	if len(inner) > 0 {
		args = append(append(args, "--"), inner...)
	}
	key := strings.Join(args, "\x00")
	if !w.done[key] {
		if _, err := w.kubectl("", args...); err != nil && !strings.Contains(err.Error(), noKubelet) {
			return []string{err.Error()}
		}
		w.done[key] = true
	}
	if len(inner) > 0 && inner[0] == "mountwarden" {
		return w.mountwarden(inner[1:])
	}
	return nil
}

// verbOf returns what kubectl is to do (of a rollout its second word), and what a container is to run, behind --.
func verbOf(args []string) (verb string, inner []string) {
	if i := slices.Index(args, "--"); i >= 0 {
		args, inner = args[:i], args[i+1:]
	}
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "-n" || args[i] == "--namespace":
			i++
		case args[i] != "rollout" && !strings.HasPrefix(args[i], "-"):
			return args[i], inner
		}
	}
	return "", inner
}

// checkHelm runs helm: what installs is rendered, what changes a release is tried on the API server, and of the rest the flags are parsed.
func (w *world) checkHelm(args []string) []string {
	if len(args) == 0 {
		return []string{"helm alone"}
	}
	switch args[0] {
	case "install":
		args = append([]string{"template"}, args[1:]...)
	case "upgrade":
		args = append(slices.Clone(args), "--dry-run=server")
	case "uninstall":
		args = append(slices.Clone(args), "--dry-run")
	case "test":
		args = append(slices.Clone(args), "--help")
	default:
		return []string{fmt.Sprintf("no checker is for helm %s", args[0])}
	}
	if _, err := w.helm(args...); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// chartValues has helm render the chart with values.
func (w *world) chartValues(text []byte) []string {
	if _, err := w.helmWith(text, "template", "mountwarden", "charts/mountwarden"); err != nil {
		return []string{err.Error()}
	}
	return nil
}
