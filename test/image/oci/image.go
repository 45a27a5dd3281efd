package oci

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const layerType = types.OCILayer

// The annotations by which importers learn an image's name.
const (
	annotationContainerd = "io.containerd.image.name"          // containerd: the full name
	annotationOCI        = "org.opencontainers.image.ref.name" // the specification: podman, skopeo
)

// ErrImage is wrapped by every error about an Image that describes nothing buildable.
var ErrImage = errors.New("not a usable image description")

// Image describes one image, for one or more platforms, that starts from nothing.
type Image struct {
	Ref        string // name and tag, as pods write it
	Platforms  []Platform
	Entrypoint []string
	Cmd        []string
	Env        []string // KEY=VALUE
	User       string   // a number or UID:GID; empty is root
	Labels     map[string]string
}

// Platform is the content of an Image for one platform.
type Platform struct {
	Name  string // OS/ARCH or OS/ARCH/VARIANT
	Files []File
}

// Native is the platform of this machine's architecture, for example linux/amd64.
func Native() string { return "linux/" + runtime.GOARCH }

// FullName writes ref the way containerd and the kubelet look images up: x:1 is
// docker.io/library/x:1. A name without a tag or with a digest is refused with ErrImage.
func FullName(ref string) (string, error) {
	tag, err := name.NewTag(ref)
	if err != nil || !strings.HasSuffix(ref, ":"+tag.TagStr()) {
		return "", errors.Join(fmt.Errorf("%w: reference %q: write NAME:TAG", ErrImage, ref), err)
	}
	registry := tag.RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	return fmt.Sprintf("%s/%s:%s", registry, tag.RepositoryStr(), tag.TagStr()), nil
}

// index is what index.json of the layout says: one named entry, which is the image itself or, for
// several platforms, a list of images.
func (i Image) index() (v1.ImageIndex, error) {
	full, err := FullName(i.Ref)
	if err != nil {
		return nil, err
	}
	addenda, err := i.addenda()
	if err != nil {
		return nil, err
	}
	top := addenda[0]
	if len(addenda) > 1 {
		top = mutate.IndexAddendum{Add: mutate.AppendManifests(emptyIndex(), addenda...)}
	}
	top.Annotations = map[string]string{annotationContainerd: full, annotationOCI: full}
	return mutate.AppendManifests(emptyIndex(), top), nil
}

func emptyIndex() v1.ImageIndex {
	return mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
}

// addenda builds the image of each platform.
func (i Image) addenda() ([]mutate.IndexAddendum, error) {
	if len(i.Platforms) == 0 {
		return nil, fmt.Errorf("%w: %s has no platform", ErrImage, i.Ref)
	}
	addenda := make([]mutate.IndexAddendum, 0, len(i.Platforms))
	for _, p := range i.Platforms {
		platform, err := v1.ParsePlatform(p.Name)
		if err != nil || platform.OS == "" || platform.Architecture == "" {
			return nil, fmt.Errorf("%w: platform %q: write OS/ARCH, for example linux/amd64", ErrImage, p.Name)
		}
		image, err := i.image(*platform, p.Files)
		if err != nil {
			return nil, fmt.Errorf("%s for %s: %w", i.Ref, p.Name, err)
		}
		addenda = append(addenda, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return addenda, nil
}

func (i Image) image(p v1.Platform, files []File) (v1.Image, error) {
	layer, err := newLayer(files)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "image"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
	config.Config = v1.Config{
		Entrypoint: i.Entrypoint, Cmd: i.Cmd, Env: i.Env, User: i.User, Labels: i.Labels, WorkingDir: "/",
	}
	return mutate.ConfigFile(image, config)
}
