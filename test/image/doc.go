// Command image packs static binaries into a container image, with no Docker and no registry.
//
// It writes one OCI image-layout tarball that `ctr images import`, `podman load` and `skopeo copy
// oci-archive:` read. The same inputs give the same bytes, so a digest can be compared between
// machines. It is not for images that start from another image: there is no FROM.
package main
