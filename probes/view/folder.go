package view

import (
	"slices"
	"strings"
)

// eachVolume calls f with UID and REST of each "/pods/UID/volumes/REST" in a path. There are several where a
// kubelet runs inside a pod.
func eachVolume(path string, f func(uid, rest string)) {
	const pods, volumes = "/pods/", "/volumes/"
	for {
		i := strings.Index(path, pods)
		if i < 0 {
			return
		}
		path = path[i+len(pods)-1:] // from the slash before UID
		uid, rest, ok := strings.Cut(path[1:], volumes)
		if ok && uid != "" && rest != "" && !strings.Contains(uid, "/") {
			f(uid, rest)
		}
	}
}

// cutVolume cuts a path of the pod's volumes into the pod's folder and what follows "volumes/".
func cutVolume(path, uid string) (pod, rest string, ok bool) {
	for from := 0; ; {
		i := strings.Index(path[from:], uid+"/volumes/")
		if i < 0 || uid == "" {
			return "", "", false
		}
		end := from + i + len(uid)
		if pod = path[:end]; strings.HasSuffix(pod[:end-len(uid)], "/pods/") {
			return pod, path[end+len("/volumes/"):], true
		}
		from += i + 1
	}
}

// ofKubelet reports whether a mount point is one that the kubelet or a driver makes for some pod: "…/volumes/PLUGIN/…", with
// a "~" in each plugin's name, or below "…/plugins/kubernetes.io".
func ofKubelet(point string) bool {
	_, rest, _ := strings.Cut(point, "/volumes/")
	plugin, _, _ := strings.Cut(rest, "/")
	return strings.Contains(plugin, "~") || strings.Contains(point, "/plugins/kubernetes.io/")
}

// plainPlugins are those of the kubelet's volume plugins that hold no storage of a claim.
func plainPlugins() []string {
	return []string{
		"kubernetes.io~empty-dir", "kubernetes.io~configmap", "kubernetes.io~secret", "kubernetes.io~projected", "kubernetes.io~downward-api",
		"kubernetes.io~git-repo", "kubernetes.io~image",
	}
}

// mountingPlugins are those that always mount something at the volume's folder.
func mountingPlugins() []string {
	return []string{
		"kubernetes.io~nfs", "kubernetes.io~iscsi", "kubernetes.io~fc", "kubernetes.io~local-volume", "kubernetes.io~cephfs", "kubernetes.io~rbd",
		"kubernetes.io~glusterfs", "kubernetes.io~azure-file", "kubernetes.io~portworx-volume",
	}
}

// isVolumeFolder reports whether rest, which follows "volumes/", is where a volume is mounted: "PLUGIN/NAME", or
// "PLUGIN/NAME/mount" as CSI has it.
func isVolumeFolder(rest string) bool {
	plugin, name, ok := strings.Cut(rest, "/")
	name = strings.TrimSuffix(name, "/mount")
	return ok && name != "" && !strings.Contains(name, "/") && !slices.Contains(plainPlugins(), plugin)
}

// unmountedFolder returns the folder below "volumes" that root, the path of a mount inside its file system, lies in,
// where a plugin always mounts something. A line with such a root shows the kubelet's own file system: the container
// was bound to the folder while nothing was mounted there.
func unmountedFolder(root string) (folder string) {
	eachVolume(root, func(_, rest string) {
		part := strings.SplitN(rest, "/", 4)
		switch {
		case len(part) >= 3 && part[0] == "kubernetes.io~csi" && part[1] != "" && part[2] == "mount":
			folder = strings.Join(part[:3], "/")
		case len(part) >= 2 && slices.Contains(mountingPlugins(), part[0]) && part[1] != "":
			folder = strings.Join(part[:2], "/")
		}
	})
	return folder
}

// join is root + "/" + rest for a clean root and a rest without leading slash, which may be empty.
func join(root, rest string) string {
	switch {
	case rest == "":
		return root
	case root == "/":
		return "/" + rest
	default:
		return root + "/" + rest
	}
}

// cut returns what follows dir in path, without a leading slash. ok is false when path is not dir nor below it.
func cut(path, dir string) (rest string, ok bool) {
	switch {
	case path == dir:
		return "", true
	case dir == "/":
		return strings.CutPrefix(path, "/")
	case strings.HasPrefix(path, dir) && path[len(dir)] == '/':
		return path[len(dir)+1:], true
	default:
		return "", false
	}
}
