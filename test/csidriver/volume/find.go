package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

// ErrNoMatch means that no volume, or more than one, answers a description.
var ErrNoMatch = errors.New("no single volume matches")

// Find gives the client of the server behind the one volume that matches: pod is a
// pod's name or NAMESPACE/NAME, volume is what Volume.Name or Volume.ID give, and
// either may be empty for any. It reads the records below dir and needs no Manager,
// so that another process can call it.
func Find(dir, pod, volume string) (*faultfs.Client, error) {
	s := store{dir}
	all, err := s.list()
	if err != nil {
		return nil, err
	}
	var sockets []string
	for _, v := range all {
		if v.matches(pod, volume) {
			sockets = append(sockets, s.control(v.serverPath()))
		}
	}
	slices.Sort(sockets)
	sockets = slices.Compact(sockets) // many paths may show one server's mount
	if len(sockets) != 1 {
		return nil, fmt.Errorf("%w: %d servers for pod %q and volume %q, of these volumes: %s",
			ErrNoMatch, len(sockets), pod, volume, describe(all))
	}
	return faultfs.NewClient(sockets[0]), nil
}

// serverPath is where the server that is behind v is mounted.
func (v Volume) serverPath() string {
	if v.Staging != "" {
		return v.Staging
	}
	return v.Path
}

func (v Volume) matches(pod, volume string) bool {
	podOK := pod == "" || pod == v.Pod.Name || pod == v.Pod.Namespace+"/"+v.Pod.Name
	volumeOK := volume == "" || volume == v.ID || volume == v.Name()
	return podOK && volumeOK
}

func describe(all []Volume) string {
	words := make([]string, 0, len(all))
	for _, v := range all {
		words = append(words, fmt.Sprintf("%s/%s %s", v.Pod.Namespace, v.Pod.Name, v.Name()))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
