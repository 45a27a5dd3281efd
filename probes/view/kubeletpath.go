package view

import (
	"slices"
	"strings"
)

// forEachVolume calls f with UID and REST of each "/pods/UID/volumes/REST" in a path. There are
// several if a kubelet runs inside a pod.
func forEachVolume(path string, f func(uid, rest string)) {
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

// cutVolumePath cuts the path of a volume of the pod into the pod's directory and what follows
// "volumes/".
func cutVolumePath(path, uid string) (pod, rest string, ok bool) {
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

// isKubeletMount reports whether the kubelet or a driver made the mount point for some pod:
// "…/volumes/PLUGIN/…", with a "~" in the plugin's name, or below "…/plugins/kubernetes.io".
func isKubeletMount(point string) bool {
	_, rest, _ := strings.Cut(point, "/volumes/")
	plugin, _, _ := strings.Cut(rest, "/")
	return strings.Contains(plugin, "~") || strings.Contains(point, "/plugins/kubernetes.io/")
}

// claimlessPlugins are the kubelet's volume plugins that hold no storage of a claim.
func claimlessPlugins() []string {
	return []string{
		"kubernetes.io~empty-dir", "kubernetes.io~configmap", "kubernetes.io~secret", "kubernetes.io~projected", "kubernetes.io~downward-api",
		"kubernetes.io~git-repo", "kubernetes.io~image",
	}
}

// mountingPlugins are those that always mount something at the volume's directory.
func mountingPlugins() []string {
	return []string{
		"kubernetes.io~nfs", "kubernetes.io~iscsi", "kubernetes.io~fc", "kubernetes.io~local-volume", "kubernetes.io~cephfs", "kubernetes.io~rbd",
		"kubernetes.io~glusterfs", "kubernetes.io~azure-file", "kubernetes.io~portworx-volume",
	}
}

// isVolumePath reports whether rest, which follows "volumes/", is a path where a volume is mounted:
// "PLUGIN/NAME", or "PLUGIN/NAME/mount" for CSI.
func isVolumePath(rest string) bool {
	plugin, name, ok := strings.Cut(rest, "/")
	name = strings.TrimSuffix(name, "/mount")
	return ok && name != "" && !strings.Contains(name, "/") && !slices.Contains(claimlessPlugins(), plugin)
}

// findUnmountedDir returns the directory below "volumes" in which root lies, if its plugin always
// mounts something there. root is the root of a mount inside its file system. A line with such a
// root shows the kubelet's own file system: the container was bound to the directory while nothing
// was mounted there.
func findUnmountedDir(root string) (dir string) {
	forEachVolume(root, func(_, rest string) {
		part := strings.SplitN(rest, "/", 4)
		switch {
		case len(part) >= 3 && part[0] == "kubernetes.io~csi" && part[1] != "" && part[2] == "mount":
			dir = strings.Join(part[:3], "/")
		case len(part) >= 2 && slices.Contains(mountingPlugins(), part[0]) && part[1] != "":
			dir = strings.Join(part[:2], "/")
		}
	})
	return dir
}

// joinPath returns root + "/" + rest for a clean root, and a rest without leading slash that may be
// empty.
func joinPath(root, rest string) string {
	switch {
	case rest == "":
		return root
	case root == "/":
		return "/" + rest
	default:
		return root + "/" + rest
	}
}

// cutDir returns what follows dir in path, without a leading slash. ok is false when path is
// neither dir nor below it.
func cutDir(path, dir string) (rest string, ok bool) {
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
