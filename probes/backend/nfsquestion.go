package backend

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// maxServerName is the longest name of a server in bytes, as in DNS.
const maxServerName = 253

// newNFSQuestion says which server to ask for an NFS volume: by the options that the kernel shows
// for its mount (nfs_show_mount_options in fs/nfs/super.c), or without the mount by what is known
// of the volume.
func newNFSQuestion(v probes.Volume, m mountinfo.Mount) (q ask.NFS, err error) {
	q.Server = parseServer(v.Source)
	if q.Server == "" && v.Backend.Kind == probes.BackendNFS {
		q.Server = strings.Trim(v.Backend.Name, "[]")
	}
	if v.FSType == "nfs4" {
		q.Version = 4
	}
	if isNFS(m.FSType) {
		if err := applyMountOptions(&q, m.SuperOptions); err != nil {
			return q, err
		}
	}
	if q.Server == "" || len(q.Server) > maxServerName || strings.ContainsAny(q.Server, "/ \x00") {
		return q, fmt.Errorf("it is not known which NFS server the volume is on: %q is the source, %q the server", v.Source, q.Server)
	}
	return q, nil
}

// applyMountOptions reads server, port and version. Only servers over TCP are asked, which all of
// NFS 4 and nearly all of NFS 3 use.
func applyMountOptions(q *ask.NFS, options string) error {
	for option := range strings.SplitSeq(options, ",") {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "addr":
			q.Server = value
		case "port":
			q.Port, _ = strconv.Atoi(value) // not a number: ignored
		case "vers":
			major, _, _ := strings.Cut(value, ".")
			q.Version, _ = strconv.Atoi(major)
		case "proto":
			if value != "tcp" && value != "tcp6" {
				return fmt.Errorf("the NFS server is mounted over %q, and only asked over tcp", value)
			}
		}
	}
	return nil
}

// parseServer returns the server of a mount's source, such as "server:/export" or
// "[2001:db8::1]:/export", or "".
func parseServer(source string) string {
	if rest, ok := strings.CutPrefix(source, "["); ok {
		server, _, ok := strings.Cut(rest, "]:")
		if !ok {
			return ""
		}
		return server
	}
	server, _, ok := strings.Cut(source, ":/")
	if !ok {
		return ""
	}
	return server
}
