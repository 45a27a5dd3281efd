package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxUID is longer than any UID of a pod: a name of 36 characters, or the 32 of a static pod's
// hash.
const maxUID = 64

// ErrInvalidUID means that a pod's UID is not of the form that kubelets write into cgroup paths.
var ErrInvalidUID = errors.New("not a pod's UID of digits, letters and dashes")

// OfPod returns the ids of the processes in the cgroups of the pod with the UID, in ascending
// order: those of its containers, the pause process, and whatever a runtime runs there. It reads
// one small file of each process of the node.
func OfPod(root, uid string) ([]int, error) {
	if !validUID(uid) {
		return nil, fmt.Errorf("pod %q: %w", uid, ErrInvalidUID)
	}
	all, err := All(root)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(pid int) bool {
		text, err := os.ReadFile(root + "/" + strconv.Itoa(pid) + "/cgroup") //nolint:gosec // a file of /proc
		return err != nil || !isOfPod(string(text), uid)                     // one that exits meanwhile is nobody's
	}), nil
}

// All returns the ids of all processes under the /proc at root, in ascending order.
func All(root string) ([]int, error) {
	names, err := readNames(root)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// InPod reports whether the process is in a cgroup of the pod. One that has exited is not.
func (p *Process) InPod(uid string) bool {
	text, err := p.Read("cgroup")
	return err == nil && validUID(uid) && isOfPod(text, uid)
}

// OpenMounts opens the mountinfo of the process, or of a thread of it when the first one has
// exited. It is ErrGone when all have.
func (p *Process) OpenMounts(root string) (*os.File, error) {
	f, err := p.Open("mountinfo")
	if !errors.Is(err, ErrGone) {
		return f, err
	}
	tasks, _ := Tasks(root, p.PID) // is gone then, too
	for _, t := range tasks {
		if f, err := p.Open("task/" + strconv.Itoa(t.TID) + "/mountinfo"); !errors.Is(err, ErrGone) {
			return f, err
		}
	}
	return nil, err
}

func validUID(uid string) bool {
	for i := range len(uid) {
		if !isAlphanumeric(uid[i]) && uid[i] != '-' {
			return false
		}
	}
	return uid != "" && len(uid) <= maxUID
}

// isOfPod reports whether a path of a /proc/PID/cgroup text has a directory of the pod:
// "/kubepods/burstable/podUID/…" as the driver cgroupfs has it, "…-podUID.slice/…" or
// "/podUID.slice:…" with underscores for dashes as systemd and its runtimes have it.
func isOfPod(text, uid string) bool {
	for _, token := range []string{"pod" + uid, "pod" + strings.ReplaceAll(uid, "-", "_")} {
		for from := 0; ; {
			i := strings.Index(text[from:], token)
			if i < 0 {
				break
			}
			from += i + len(token)
			if isTokenStart(text[:from-len(token)]) && isTokenEnd(text[from:]) {
				return true
			}
		}
	}
	return false
}

// isTokenStart reports whether a name may begin after this text.
func isTokenStart(before string) bool {
	return strings.HasSuffix(before, "/") || strings.HasSuffix(before, "-")
}

// isTokenEnd reports whether a name may end before this text.
func isTokenEnd(after string) bool {
	return after == "" || strings.HasPrefix(after, "/") || strings.HasPrefix(after, "\n") || strings.HasPrefix(after, ".slice")
}
