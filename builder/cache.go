package builder

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"
	buildctl "github.com/moby/buildkit/cmd/buildctl/build"
	"github.com/moby/buildkit/util/suggest"
)

// Keys of a cache's CSV that name a folder of this machine.
const (
	keyCacheSrc  = "src"
	keyCacheDest = "dest"
)

// cacheTypes are the caches that BuildKit knows. The embedded one has the first
// three: the others are for services that a build host of firmware seldom has, and
// would double the binary.
var cacheTypes = []string{"registry", "local", "inline", "gha", "s3", "azblob"}

// parseCacheFrom parses --cache-from as buildx does: an image's name alone, or
// type=…,KEY=VALUE…
func parseCacheFrom(flags []string) ([]client.CacheOptionsEntry, error) {
	return parseCaches("--cache-from", flags, buildctl.ParseImportCache, keyCacheSrc)
}

// parseCacheTo parses --cache-to, in the same form. A folder cannot be combined with
// another cache: BuildKit's client would write the digest of whichever is ready last
// into the folder's index.
func parseCacheTo(flags []string) ([]client.CacheOptionsEntry, error) {
	all, err := parseCaches("--cache-to", flags, buildctl.ParseExportCache, keyCacheDest)
	if err != nil {
		return nil, err
	}
	kept, folders := 0, 0
	for _, e := range all {
		if e.Type != "inline" { // it is part of the image
			kept++
		}
		if e.Type == "local" {
			folders++
		}
	}
	if folders > 0 && kept > 1 {
		return nil, usageErrorf("--cache-to type=local cannot be combined with another cache: build twice, the second build has nothing to do")
	}
	return all, nil
}

func parseCaches(flag string, specs []string, parse func([]string) ([]client.CacheOptionsEntry, error), folder string) ([]client.CacheOptionsEntry, error) {
	var all []client.CacheOptionsEntry
	for _, spec := range specs {
		entries, err := parse([]string{spec})
		if err != nil {
			return nil, usageErrorf("%s %q: %w", flag, spec, err)
		}
		for _, e := range entries {
			if !slices.Contains(cacheTypes, e.Type) {
				err := usageErrorf("%s %q: unknown type %q: want %s", flag, spec, e.Type, strings.Join(cacheTypes, ", "))
				return nil, suggest.WrapError(err, e.Type, cacheTypes, true)
			}
			if e.Type == "local" && e.Attrs[folder] == "" {
				return nil, usageErrorf("%s %q: type=local needs %s=FOLDER", flag, spec, folder)
			}
			if e.Type == "registry" && e.Attrs["ref"] == "" {
				return nil, usageErrorf("%s %q: type=registry needs ref=NAME", flag, spec)
			}
			if flag == "--cache-from" && e.Type == "local" {
				if _, err := os.Stat(e.Attrs[folder]); err != nil {
					continue // as buildx: the first build has none yet
				}
			}
			all = append(all, client.CacheOptionsEntry{Type: e.Type, Attrs: maps.Clone(e.Attrs)})
		}
	}
	return all, nil
}
