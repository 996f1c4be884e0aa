package builder

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	commonexptypes "github.com/moby/buildkit/exporter/exptypes"
	"github.com/moby/buildkit/util/suggest"
	"github.com/tonistiigi/go-csvvalue"

	"github.com/hybrid-containers/hybrid/image"
)

// Output types: those of BuildKit's exporters. typeRegistry is buildx's short word
// for an image that is pushed.
const (
	typeDocker   = client.ExporterDocker
	typeOCI      = client.ExporterOCI
	typeImage    = client.ExporterImage
	typeLocal    = client.ExporterLocal
	typeTar      = client.ExporterTar
	typeRegistry = "registry"
	// typeCacheOnly is buildx's word for no output: what is built stays in the cache.
	typeCacheOnly = "cacheonly"
)

const (
	keyType = "type"
	keyDest = "dest"
	keyTar  = "tar"
	keyName = "name" // exptypes.OptKeyName, which is a variable
	keyPush = "push" // exptypes.OptKeyPush
)

// toStdout is the dest that means standard output.
const toStdout = "-"

// output is one --output, parsed.
type output struct {
	kind        string            // docker, oci, image, local, tar
	dest        string            // file or folder; "": the type's own default
	folder      bool              // dest is a folder
	load        string            // engine to load the image into; "": none
	attrs       map[string]string // the exporter's own, without annotations
	annotations annotations       // without the target
	target      image.Target
}

// imageAttrs are what exporters of images take beside name (exptypes/keys.go).
var imageAttrs = []string{
	keyName,
	string(commonexptypes.OptKeySourceDateEpoch),
	string(exptypes.OptKeyOCITypes),
	string(exptypes.OptKeyLayerCompression),
	string(exptypes.OptKeyForceCompression),
	string(exptypes.OptKeyCompressionLevel),
	string(exptypes.OptKeyRewriteTimestamp),
}

// outputAttrs are the keys of each type of output beside type and annotations.
var outputAttrs = map[string][]string{
	typeDocker: append([]string{keyDest, keyTar}, imageAttrs...),
	typeOCI:    append([]string{keyDest, keyTar}, imageAttrs...),
	typeImage: append([]string{
		keyPush,
		string(exptypes.OptKeyPushByDigest),
		string(exptypes.OptKeyInsecure),
		string(exptypes.OptKeyUnpack),
		string(exptypes.OptKeyStore),
		string(exptypes.OptKeyNameCanonical),
		string(exptypes.OptKeyDanglingPrefix),
	}, imageAttrs...),
	// what type=docker becomes where Docker builds (see inPlace)
	typeMoby:      imageAttrs,
	typeCacheOnly: {},
	typeLocal:     {keyDest, "mode", "platform-split", string(commonexptypes.OptKeySourceDateEpoch)},
	typeTar:       {keyDest, "platform-split", string(commonexptypes.OptKeySourceDateEpoch)},
}

// boolAttrs are the keys whose values are true or false.
var boolAttrs = []string{
	keyPush, keyTar, "platform-split",
	string(exptypes.OptKeyOCITypes),
	string(exptypes.OptKeyForceCompression),
	string(exptypes.OptKeyRewriteTimestamp),
	string(exptypes.OptKeyPushByDigest),
	string(exptypes.OptKeyInsecure),
	string(exptypes.OptKeyUnpack),
	string(exptypes.OptKeyStore),
	string(exptypes.OptKeyNameCanonical),
}

// compressions are those of layers.
var compressions = []string{"gzip", "zstd", "estargz", "uncompressed"}

// targetKeys are annotations that people write without the word in front of them.
// Other builders take annotation[PLATFORM].board=B,mcu=M and lose the mcu.
var targetKeys = []string{image.KeyBoard, image.KeyMCU, image.KeyProcessor}

// parseOutput parses --output as buildx does, for an image of one platform.
//
// Differences to buildx: board, mcu and remoteproc.name count as annotations, and a
// key that the type does not have is an error.
func parseOutput(s string, form imageForm) (*output, error) {
	var fields []string
	var err error
	if s != "" { // csvvalue says EOF
		fields, err = csvvalue.Fields(s, nil)
	}
	if err != nil {
		return nil, usageErrorf("--output %q: %w", s, err)
	}
	if len(fields) == 0 || len(fields) == 1 && fields[0] == "" {
		return nil, usageErrorf("--output is empty: want type=…, a folder or -")
	}
	if len(fields) == 1 && !strings.Contains(fields[0], "=") {
		// a path alone is a folder to put the files in, a dash is a tar of them
		if fields[0] == toStdout {
			return &output{kind: typeTar, dest: toStdout, attrs: map[string]string{}, annotations: annotations{}}, nil
		}
		return &output{kind: typeLocal, dest: fields[0], folder: true, attrs: map[string]string{}, annotations: annotations{}}, nil
	}
	o := &output{attrs: map[string]string{}, annotations: annotations{}}
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, usageErrorf("--output %q: want KEY=VALUE, got %q", s, field)
		}
		lower := strings.ToLower(key)
		switch {
		case lower == keyType:
			o.kind = strings.ToLower(value)
		case slices.Contains(targetKeys, lower):
			err = o.annotations.set(exptypes.AnnotationManifestKey(nil, lower), value, form)
		case strings.HasPrefix(lower, "annotation"):
			err = o.annotations.set(key, value, form)
		default:
			o.attrs[lower] = value
		}
		if err != nil {
			return nil, usageErrorf("--output %q: %w", s, err)
		}
	}
	if err := o.check(); err != nil {
		return nil, usageErrorf("--output %q: %w", s, err)
	}
	o.target = o.annotations.takeTarget()
	return o, nil
}

// check completes what was parsed and refuses what the type does not have.
func (o *output) check() error {
	if o.kind == typeRegistry {
		o.kind, o.attrs[keyPush] = typeImage, "true"
	}
	known, ok := outputAttrs[o.kind]
	if !ok {
		types := slices.Sorted(maps.Keys(outputAttrs))
		if o.kind == "" {
			return usageErrorf("type is missing: want type=%s", strings.Join(types, "|"))
		}
		return suggest.WrapError(usageErrorf("unknown type %q: want %s or registry", o.kind, strings.Join(types, ", ")),
			o.kind, append(types, typeRegistry), true)
	}
	for _, key := range slices.Sorted(maps.Keys(o.attrs)) {
		if !slices.Contains(known, key) {
			candidates := append(append(slices.Clone(known), targetKeys...), keyType, "annotation."+key)
			return suggest.WrapError(usageErrorf("type=%s has no key %q: it has %s, %s", o.kind, key, strings.Join(known, ", "),
				"board, mcu and annotation.*"), key, candidates, true)
		}
		if key == string(commonexptypes.OptKeySourceDateEpoch) && !isEpoch(o.attrs[key]) {
			return usageErrorf("%s=%s: %s", key, o.attrs[key], wantEpoch)
		}
		if key == string(exptypes.OptKeyLayerCompression) && !slices.Contains(compressions, o.attrs[key]) {
			return suggest.WrapError(usageErrorf("%s=%s: want %s", key, o.attrs[key], strings.Join(compressions, ", ")), o.attrs[key], compressions, true)
		}
		if slices.Contains(boolAttrs, key) {
			if _, err := strconv.ParseBool(o.attrs[key]); err != nil {
				return usageErrorf("%s=%s: want true or false", key, o.attrs[key])
			}
		}
	}
	o.dest = o.attrs[keyDest]
	delete(o.attrs, keyDest)
	o.folder = o.kind == typeLocal || o.has(keyTar) && !o.is(keyTar)
	switch {
	case o.folder && o.dest == "":
		return usageErrorf("a folder needs dest=FOLDER")
	case o.folder && o.dest == toStdout:
		return usageErrorf("dest=- cannot be a folder")
	}
	if name, ok := o.attrs[keyName]; ok {
		var names []string
		for n := range strings.SplitSeq(name, ",") {
			full, err := o.normalise(n)
			if err != nil {
				return err
			}
			names = append(names, full)
		}
		o.attrs[keyName] = strings.Join(names, ",")
	}
	return nil
}

// normalise makes a name full. One that is pushed by digest must have no tag, so it
// gets none.
func (o *output) normalise(name string) (string, error) {
	if !o.is(string(exptypes.OptKeyPushByDigest)) {
		return normalise(name)
	}
	named, err := parseName(name)
	if err != nil {
		return "", err
	}
	if !reference.IsNameOnly(named) {
		return "", usageErrorf("push-by-digest: the name %q has a tag: leave it out", name)
	}
	return named.String(), nil
}

func (o *output) has(key string) bool { _, ok := o.attrs[key]; return ok }

// is reports whether a key is set to a true value; check has parsed it.
func (o *output) is(key string) bool {
	b, err := strconv.ParseBool(o.attrs[key])
	return err == nil && b
}

// isImage reports whether the output is an image, not the files in it.
func (o *output) isImage() bool {
	return slices.Contains([]string{typeDocker, typeOCI, typeImage, typeMoby}, o.kind)
}

// parseOutputs parses all of --output, and what --tag and --push add to it.
func (r *Request) parseOutputs(o *options) ([]*output, error) {
	var outputs []*output
	for _, s := range r.Outputs {
		out, err := parseOutput(s, o.form)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, out)
	}
	if len(outputs) == 0 && !r.Push && r.Load == "" && len(o.tags) > 0 {
		outputs = append(outputs, &output{kind: typeDocker, attrs: map[string]string{}, annotations: annotations{}})
	}
	load, err := parseLoad(r.Load)
	if err != nil {
		return nil, err
	}
	if load != "" {
		// as with buildx it is the output that is loaded anyway, if there is one
		i := slices.IndexFunc(outputs, func(o *output) bool { return o.kind == typeDocker && o.dest == "" })
		if i < 0 {
			i = len(outputs)
			outputs = append(outputs, &output{kind: typeDocker, attrs: map[string]string{}, annotations: annotations{}})
		}
		outputs[i].load = load
	}
	if r.Push {
		i := slices.IndexFunc(outputs, func(o *output) bool { return o.kind == typeImage })
		if i < 0 {
			i = len(outputs)
			outputs = append(outputs, &output{kind: typeImage, attrs: map[string]string{}, annotations: annotations{}})
		}
		outputs[i].attrs[keyPush] = "true"
	}
	if err := apart(outputs); err != nil {
		return nil, err
	}
	images := 0
	for _, out := range outputs {
		if out.isImage() {
			images++
		}
	}
	for _, out := range outputs {
		if !out.isImage() {
			continue
		}
		if out.folder && images > 1 && !r.makesIndex() {
			// BuildKit's client writes the last exporter's digest into every index.json
			return nil, usageErrorf("type=%s,tar=false: an image in a folder cannot be combined with another image output", out.kind)
		}
		if out.kind == typeDocker && len(o.attests) > 0 && !r.makesIndex() {
			return nil, usageErrorf("type=docker: the archive cannot hold attestations, use type=oci or a registry")
		}
		if len(o.tags) > 0 && !out.has(keyName) {
			var names []string
			for _, tag := range r.Tags {
				full, err := out.normalise(tag)
				if err != nil {
					return nil, usageErrorf("--tag: %w", err)
				}
				names = append(names, full)
			}
			out.attrs[keyName] = strings.Join(names, ",")
		}
		if out.is(keyPush) && !out.has(keyName) {
			return nil, usageErrorf("an image that is pushed needs a name: --tag NAME or name=NAME")
		}
		if !out.has(string(exptypes.OptKeyRewriteTimestamp)) {
			// else the layer holds the time of the build, and no two digests are equal
			out.attrs[string(exptypes.OptKeyRewriteTimestamp)] = "true"
		}
	}
	return outputs, nil
}

// apart refuses two outputs that would be written over each other, or mixed on
// standard output.
func apart(outputs []*output) error {
	taken := map[string]bool{}
	for _, out := range outputs {
		where := out.dest
		switch {
		case out.kind == typeImage, out.kind == typeMoby, out.kind == typeCacheOnly, out.kind == typeDocker && out.dest == "":
			continue
		case out.dest == "" || out.dest == toStdout:
			where = "standard output"
		default:
			if abs, err := filepath.Abs(out.dest); err == nil {
				where = abs
			}
		}
		if taken[where] {
			return usageErrorf("two --output go to %s: give each a dest of its own", where)
		}
		taken[where] = true
	}
	return nil
}
