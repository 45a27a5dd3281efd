package csidriver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
)

// errInvalid is wrapped by errors about what a request holds.
var errInvalid = errors.New("invalid argument")

// The volume attributes that choose what a volume holds. Every other one must have a
// slash in its name, as those have that the kubelet adds.
const (
	AttrCanary    = "canary"    // name of the file in the root, "canary" by default
	AttrContent   = "content"   // what that file holds, nothing by default
	AttrSource    = "source"    // the mount's source in mountinfo, "faultfs" by default
	AttrOwnerOnly = "ownerOnly" // "true" mounts without allow_other
	AttrCacheFor  = "cacheFor"  // how long the kernel may cache, such as "1h"; 0 by default

	AttrBackend      = "backend"      // file without which statfs and lookup hang, an absolute path on the node
	AttrBackendGrace = "backendGrace" // how long a new mount answers without it, "15s" by default

	AttrProgram = "program" // FUSE server that serves in place of faultfs, such as "rclone"
	AttrURL     = "url"     // of the server that the program mounts
	AttrFlags   = "flags"   // more flags of the program, separated by blanks
)

// The attributes that the kubelet adds when CSIDriver.spec.podInfoOnMount is true.
const (
	attrPodName      = "csi.storage.k8s.io/pod.name"
	attrPodNamespace = "csi.storage.k8s.io/pod.namespace"
	attrPodUID       = "csi.storage.k8s.io/pod.uid"
	attrEphemeral    = "csi.storage.k8s.io/ephemeral"
)

// parseContent reads the attributes of a volume. The error is an errInvalid.
func parseContent(attrs map[string]string) (volume.Content, error) {
	var c volume.Content
	set := map[string]func(string) error{
		AttrCanary:    func(v string) error { c.Canary = v; return nil },
		AttrContent:   func(v string) error { c.Text = v; return nil },
		AttrSource:    func(v string) error { c.Source = v; return nil },
		AttrOwnerOnly: func(v string) (err error) { c.OwnerOnly, err = strconv.ParseBool(v); return err },
		AttrCacheFor:  func(v string) (err error) { c.CacheFor, err = time.ParseDuration(v); return err },

		AttrBackend:      func(v string) error { c.Backend = v; return nil },
		AttrBackendGrace: func(v string) (err error) { c.BackendGrace, err = time.ParseDuration(v); return err },

		AttrProgram: func(v string) error { c.Program = v; return nil },
		AttrURL:     func(v string) error { c.URL = v; return nil },
		AttrFlags:   func(v string) error { c.Flags = v; return nil },
	}
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		if strings.Contains(key, "/") {
			continue
		}
		parse, ok := set[key]
		if !ok {
			return c, fmt.Errorf("%w: volume_context key %q: use one of %v", errInvalid, key, slices.Sorted(maps.Keys(set)))
		}
		if err := parse(attrs[key]); err != nil {
			return c, fmt.Errorf("%w: volume_context %s=%q: %w", errInvalid, key, attrs[key], err)
		}
	}
	return c, nil
}

func podOf(attrs map[string]string) volume.Pod {
	return volume.Pod{
		Namespace: attrs[attrPodNamespace],
		Name:      attrs[attrPodName],
		UID:       attrs[attrPodUID],
	}
}
