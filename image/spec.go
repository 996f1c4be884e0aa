package image

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// What is read of the documents of image-spec. Its own Go types bring a library of
// digests and with it regular expressions: 90 KB, and 0.25 ms of every start of the
// runtime.

// Media types of image-spec and of Docker, which are the same documents.
const (
	mediaTypeIndex          = "application/vnd.oci.image.index.v1+json"
	mediaTypeManifest       = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
)

// Keys of annotations in an index.
const (
	keyRefName        = "org.opencontainers.image.ref.name"
	keyContainerdName = "io.containerd.image.name"
)

// indexFile is the entry point of a layout.
const indexFile = "index.json"

// Descriptor points to a blob (image-spec, descriptor.md).
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      Digest            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

type index struct {
	Manifests []Descriptor `json:"manifests"`
}

// Manifest is an image's (image-spec, manifest.md).
type Manifest struct {
	MediaType   string            `json:"mediaType"`
	Config      Descriptor        `json:"config"`
	Layers      []Descriptor      `json:"layers"`
	Annotations map[string]string `json:"annotations"`
}

// Config is what an image says of itself (image-spec, config.md).
type Config struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	Config       Run    `json:"config"`
}

// Run is how a config wants to be run. The names of its fields are Docker's.
type Run struct {
	Env        []string          `json:"Env"`
	Entrypoint []string          `json:"Entrypoint"`
	Cmd        []string          `json:"Cmd"`
	WorkingDir string            `json:"WorkingDir"`
	Labels     map[string]string `json:"Labels"`
}

// Digest is ALGORITHM:HEX (image-spec, descriptor.md).
type Digest string

// parse splits a digest of an algorithm that image-spec registers. Only what it lets
// through becomes a path.
func (d Digest) parse() (algorithm, encoded string, sum hash.Hash, err error) {
	algorithm, encoded, _ = strings.Cut(string(d), ":")
	switch algorithm {
	case "sha256":
		sum = sha256.New()
	case "sha512":
		sum = sha512.New()
	default:
		return "", "", nil, fmt.Errorf("digest %q is neither sha256 nor sha512", clip(string(d)))
	}
	if len(encoded) != 2*sum.Size() || strings.Trim(encoded, "0123456789abcdef") != "" {
		return "", "", nil, fmt.Errorf("digest %q is not %s: and %d hexadecimal digits", clip(string(d)), algorithm, 2*sum.Size())
	}
	return algorithm, encoded, sum, nil
}

// matches reports whether what was written to sum has the digest.
func (d Digest) matches(sum hash.Hash) bool {
	return strings.HasSuffix(string(d), ":"+hex.EncodeToString(sum.Sum(nil)))
}
