package config

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
)

// The bounds of what an annotation may ask to be looked at in a volume.
const (
	maxExpected = 32
	maxPath     = 1024 // bytes
)

// relativePath reads a path below a volume; "" when it is not set or not understood.
func (a *annotations) relativePath(key string) string {
	text, set := a.values[key]
	if !set || a.note(relative(key, text)) {
		return ""
	}
	return text
}

// relative accepts only the one plain way to write a path below a folder.
func relative(key, text string) error {
	if text == "." || len(text) > maxPath || !filepath.IsLocal(text) || filepath.Clean(text) != text || strings.ContainsRune(text, 0) {
		return invalid(key, text, "a relative path below the volume, without \".\" and \"..\", such as \"state/canary\"")
	}
	return nil
}

// expected reads the mounts that must be below each volume, by the volume's name.
func (a *annotations) expected(volumes []volume) map[string][]probes.Expected {
	text, set := a.values[AnnotationExpectMounts]
	if !set {
		return nil
	}
	items := strings.Split(text, ",")
	if len(items) > maxExpected {
		a.note(outside("the number of mounts in "+AnnotationExpectMounts, len(items), 1, maxExpected))
		return nil
	}
	all := map[string][]probes.Expected{}
	for _, item := range items {
		item = strings.TrimSpace(item)
		place, fsType, typed := strings.Cut(item, "=")
		volume, path, _ := strings.Cut(place, "/")
		if !slices.Contains(names(volumes), volume) || relative("", path) != nil || typed && fsType == "" {
			a.note(invalid(AnnotationExpectMounts, item, "VOLUME/PATH or VOLUME/PATH=FSTYPE, where VOLUME is one of "+join(names(volumes))+
				" and PATH is relative to it, such as \"shared/data=fuse.sshfs\""))
			continue
		}
		all[volume] = append(all[volume], probes.Expected{Path: path, FSType: fsType})
	}
	return all
}
