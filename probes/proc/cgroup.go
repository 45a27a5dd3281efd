package proc

import "strings"

// idLength is the number of hexadecimal digits of a container id.
const idLength = 64

// ValidID reports whether id has the form of a container id: 64 lower-case hexadecimal digits.
func ValidID(id string) bool {
	if len(id) != idLength {
		return false
	}
	for i := range len(id) {
		if !isHex(id[i]) {
			return false
		}
	}
	return true
}

// parseContainerIDs returns, for each line of a /proc/PID/cgroup text, the container ids in its
// path, outermost first. Lines without an id are left out.
func parseContainerIDs(text string) [][]string {
	var lines [][]string
	for line := range strings.Lines(text) {
		if ids := findIDs(line); len(ids) > 0 {
			lines = append(lines, ids)
		}
	}
	return lines
}

// findIDs returns the ids that are a token of their own in a line: "/kubepods/pod1/ID",
// "cri-containerd-ID.scope", "pod1.slice:cri-containerd:ID". conmon, CRI-O's monitor, runs on the
// host in "crio-conmon-ID.scope" and has none of the container's mounts.
func findIDs(line string) (ids []string) {
	for start := 0; start < len(line); {
		end := start
		for end < len(line) && isAlphanumeric(line[end]) {
			end++
		}
		if ValidID(line[start:end]) && !strings.HasSuffix(line[:start], "conmon-") {
			ids = append(ids, line[start:end])
		}
		start = end + 1
	}
	return ids
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// findOwner returns the id that a process belongs to: the outermost known one of the first line
// that has any. A container may give a cgroup of its own the name of another container; what lies
// inside a known container is that container's.
func findOwner(lines [][]string, known func(string) bool) string {
	for _, ids := range lines {
		for _, id := range ids {
			if known(id) {
				return id
			}
		}
	}
	return ""
}
