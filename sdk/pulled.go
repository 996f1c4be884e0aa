package sdk

import (
	"errors"
	"os"
	"path/filepath"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Stages are the stages of the SDK's Dockerfile that a build without network starts
// from.
func Stages(name string) []string {
	switch name {
	case BareMetal:
		return []string{"toolchain"} // the SDK itself is part of this program
	case STM32Cube:
		return []string{"toolchain", "sdk"}
	}
	return []string{"tools", "sdk"}
}

// PullFolder is where an SDK is kept for use without network. Each version has its
// own folder, so that a newer hybrid does not build with an older SDK unasked.
func PullFolder(name, version string) (string, error) {
	cache := os.Getenv("HYBRID_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", errors.New("no folder for the cache: set HYBRID_CACHE, XDG_CACHE_HOME or HOME")
		}
		cache = filepath.Join(user, "hybrid")
	}
	if version != "" {
		name += "-" + version
	}
	return filepath.Join(cache, "sdk", name), nil
}

// Pulled is the folder that holds the SDK, if it was pulled.
func Pulled(name, version string) (folder string, ok bool) {
	folder, err := PullFolder(name, version)
	if err != nil {
		return "", false
	}
	for _, stage := range Stages(name) {
		if _, err := os.Stat(filepath.Join(folder, stage, v1.ImageLayoutFile)); err != nil {
			return "", false
		}
	}
	return folder, true
}
