// Package oci turns a list of files into a reproducible OCI image-layout tarball.
//
// It leans on the OCI image-layout specification (oci-layout, index.json, blobs/sha256/…) and on
// containerd's importer, which takes an image's name from the annotation io.containerd.image.name
// of its entry in index.json. Names are written in full (docker.io/library/x:1 for x:1), because
// that is the form under which the kubelet asks for them.
//
// Not for images that are built on another image, and not for very large files: a layer is held in
// memory while it is built.
package oci
