package config

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
)

// The bounds of what an annotation may ask to be probed in a volume.
const (
	maxExpected = 32
	maxPath     = 1024 // bytes
)

// parseRelativePath reads a path below a volume. It returns "" when the path is not set or invalid.
func (a *annotationParser) parseRelativePath(key string) string {
	text, set := a.values[key]
	if !set || a.addProblem(checkRelativePath(key, text)) {
		return ""
	}
	return text
}

// checkRelativePath accepts only the one plain way to write a path below a directory.
func checkRelativePath(key, text string) error {
	if text == "." || len(text) > maxPath || !filepath.IsLocal(text) || filepath.Clean(text) != text || strings.ContainsRune(text, 0) {
		return rejectValue(key, text, "a relative path below the volume, without \".\" and \"..\", such as \"state/canary\"")
	}
	return nil
}

// parseExpectedMounts reads the mounts that must be below each volume, by the volume's name.
func (a *annotationParser) parseExpectedMounts(volumes []podVolume) map[string][]probes.Expected {
	text, set := a.values[AnnotationExpectMounts]
	if !set {
		return nil
	}
	items := strings.Split(text, ",")
	if len(items) > maxExpected {
		a.addProblem(rejectNumber("the number of mounts in "+AnnotationExpectMounts, len(items), 1, maxExpected))
		return nil
	}
	all := map[string][]probes.Expected{}
	for _, item := range items {
		item = strings.TrimSpace(item)
		place, fsType, typed := strings.Cut(item, "=")
		volume, path, _ := strings.Cut(place, "/")
		if !slices.Contains(listVolumeNames(volumes), volume) || checkRelativePath("", path) != nil || typed && fsType == "" {
			a.addProblem(rejectValue(AnnotationExpectMounts, item, "VOLUME/PATH or VOLUME/PATH=FSTYPE, where VOLUME is one of "+joinValues(listVolumeNames(volumes))+
				" and PATH is relative to it, such as \"shared/data=fuse.sshfs\""))
			continue
		}
		all[volume] = append(all[volume], probes.Expected{Path: path, FSType: fsType})
	}
	return all
}
