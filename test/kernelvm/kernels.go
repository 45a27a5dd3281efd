package main

import (
	"fmt"
	"strings"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/debian"
)

// kernel is a series of kernels that users run, and which of Debian's packages have it. The
// pattern matches the whole name of the image's package; the name of the modules' package ends in the same version.
type kernel struct {
	series  string
	image   string
	modules string // how the name of their package begins; "" where they are in the image's package
}

// kernels are the series that are tested, the oldest first.
func kernels() []kernel {
	return []kernel{
		{series: "5.10", image: `linux-image-5\.10\.0-\d+-cloud-amd64`},
		{series: "6.1", image: `linux-image-6\.1\.0-\d+-cloud-amd64`},
		{series: "6.12", image: `linux-image-6\.12\.\d+\+deb12-cloud-amd64`},
		{series: "7.3", image: `linux-binary-7\.3\.\d+\+deb13-cloud-amd64`, modules: "linux-modules-"},
	}
}

// chosen returns the kernels with the names, all of them without a name.
func chosen(names []string) ([]kernel, error) {
	if len(names) == 0 {
		return kernels(), nil
	}
	var all []kernel
	for _, name := range names {
		k, err := find(name)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

func find(series string) (kernel, error) {
	var names []string
	for _, k := range kernels() {
		if k.series == series {
			return k, nil
		}
		names = append(names, k.series)
	}
	return kernel{}, fmt.Errorf("no kernel %q is tested: choose of %s", series, strings.Join(names, ", "))
}

// packages names the packages to unpack, by the name of the newest one.
func (k kernel) packages(image string) []string {
	if k.modules == "" {
		return []string{image}
	}
	return []string{image, k.modules + strings.TrimPrefix(image, "linux-binary-")}
}

// wantedModules are what the lab needs of a kernel; many have some of them built in.
func wantedModules() []string {
	return []string{
		"fuse", "loop", "squashfs", "xfs", "autofs4", "overlay", "dm-mod", "virtio_pci", "virtio_blk",
		"nfs", "nfsv3", "nfsv4", "nfsd", "nfs_layout_flexfiles",
	}
}

// programs are those of Debian that the tests run, and the packages that have them.
func programs() (names, packages []string) {
	return []string{"mkfs.ext4", "mkfs.xfs", "mksquashfs", "cp", "stat", "true", "cat", "sleep", "losetup"},
		[]string{"e2fsprogs", "xfsprogs", "squashfs-tools", "coreutils", "mount"}
}

// qemuFrom is the suite whose QEMU runs guests of all these kernels.
const qemuFrom = debian.BookwormBackports
