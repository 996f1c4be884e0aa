// Package builder turns a build request into a verified, annotated firmware image.
//
// A build is BuildKit's Dockerfile front end, driven through the gateway client:
// after the last step and before anything is exported, the firmware is read out of
// the build and checked against the core it is meant for, and the target is written
// into the image's annotations, labels and environment. A build that fails exports
// nothing.
package builder

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/progress/progressui"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/builder/buildkit"
	"github.com/hybrid-containers/hybrid/image"
)

// DefaultPlatform is that of the Linux beside the core, by which engines choose
// images: the firmware itself has none that they know.
const DefaultPlatform = "linux/arm64"

// Request says what to build. The strings are as a user writes them, in the
// grammar of docker buildx build.
type Request struct {
	Path       string   // build context: a folder, a URL, or "-" for Stdin
	Dockerfile string   // "": PATH/Dockerfile, else the SDK's; "-": Stdin
	SDK        string   // "": the one that the project's files want
	SDKArchive string   // FILE|URL[,sha256=HEX] of the SDK behind NXP's login; "": none
	Firmware   string   // the ELF file in the image; "": what ENTRYPOINT names
	Stage      string   // --target: stage to build; "": the last
	Platform   string   // "": that of the board's Linux; DefaultPlatform if only the Dockerfile knows the board
	BuildArgs  []string // KEY=VALUE, or KEY to take the value from the environment
	Contexts   []string // NAME=SOURCE
	Steps      Steps
	Secrets    []string // id=NAME[,src=FILE|env=VARIABLE]
	SSH        []string // default|NAME[=SOCKET|KEY[,KEY…]]

	Pull          bool // look for newer base images
	NoCache       bool
	NoCacheFilter []string // stages
	CacheFrom     []string // NAME, or type=…,KEY=VALUE…
	CacheTo       []string

	Target      image.Target // --board, --mcu
	Targets     []string     // --target-core BOARD/MCU[,NAME=VALUE…]
	Pack        bool         // several targets become one image, not an index of images
	Annotations []string     // [TYPE[PLATFORM]:]KEY=VALUE
	Labels      []string     // KEY=VALUE
	Attests     []string     // type=provenance|sbom,KEY=VALUE…
	Provenance  string       // true, false or KEY=VALUE…
	SBOM        string       // likewise

	Tags    []string
	Outputs []string // TYPE=…,KEY=VALUE,…; none: Docker, if there is a tag
	Push    bool
	Load    string // docker, containerd, podman, true (whichever answers) or false

	Call  string // build, check, outline or targets; "": build
	Check string // of the firmware: [MODE][,skip=CODE]…; "": errors fail, warnings are printed

	Progress     string // auto, plain, tty, quiet, rawjson; "": auto
	MetadataFile string // "": none
	IIDFile      string // "": none

	// BuildKit says where to build. Its functions are set by Build.
	BuildKit buildkit.Options

	targetsFrom string // where Targets come from, for messages; "": the flag

	Stdin  io.Reader // nil: os.Stdin
	Stdout io.Writer // nil: os.Stdout; image data for dest=- and nothing else
	Stderr io.Writer // nil: os.Stderr; progress and warnings
}

// UsageError reports a request that is malformed, whatever would be built.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

func usageErrorf(format string, a ...any) error {
	return &UsageError{fmt.Errorf(format, a...)}
}

// makesIndex reports whether the result is an index of images, which package builder
// writes, not one image, which BuildKit's exporters write.
func (r *Request) makesIndex() bool { return len(r.Targets) > 1 && !r.Pack }

// options are a request's simple parts, parsed.
type options struct {
	form imageForm
	// ownPlatform is set if each image gets the platform of its board's Linux.
	ownPlatform bool
	buildArgs   map[string]string
	labels      map[string]string // without the target's
	tags        []string          // normalised: docker.io/library/NAME:latest
	progress    progressui.DisplayMode
	attests     map[string]string // by type
	cacheFrom   []client.CacheOptionsEntry
	cacheTo     []client.CacheOptionsEntry
	allowed     []string          // entitlements
	steps       map[string]string // attributes of the front end
	session     []session.Attachable
	call        call
}

func (r *Request) options() (*options, error) {
	o := &options{}
	var err error
	wanted := r.wantedPlatform()
	o.ownPlatform = wanted == ""
	if o.form.platform, err = parsePlatform(wanted); err != nil {
		return nil, err
	}
	if o.buildArgs, err = parseBuildArgs(r.BuildArgs); err != nil {
		return nil, err
	}
	addProxies(o.buildArgs)
	if o.labels, err = parsePairs("--label", r.Labels); err != nil {
		return nil, err
	}
	for _, t := range r.Tags {
		named, err := normalise(t)
		if err != nil {
			return nil, usageErrorf("--tag: %w", err)
		}
		o.tags = append(o.tags, named)
	}
	if o.attests, err = r.parseAttests(); err != nil {
		return nil, err
	}
	o.form.indexed = len(o.attests) > 0 || r.makesIndex()
	if o.cacheFrom, err = parseCacheFrom(r.CacheFrom); err != nil {
		return nil, err
	}
	if o.cacheTo, err = parseCacheTo(r.CacheTo); err != nil {
		return nil, err
	}
	o.steps = map[string]string{}
	if o.allowed, err = r.Steps.attrs(o.steps); err != nil {
		return nil, err
	}
	if o.call, err = parseCall(r.Call); err != nil {
		return nil, err
	}
	if o.session, err = r.attachables(); err != nil {
		return nil, err
	}
	if r.Progress == "none" { // buildx's name for it
		r.Progress = string(progressui.QuietMode)
	}
	switch o.progress = progressui.DisplayMode(r.Progress); o.progress {
	case progressui.DefaultMode, progressui.AutoMode, progressui.PlainMode, progressui.TtyMode, progressui.QuietMode, progressui.RawJSONMode:
	default:
		return nil, usageErrorf("unknown --progress %q: want auto, plain, tty, quiet or rawjson", r.Progress)
	}
	return o, nil
}

// namedPlatform finds the platforms that annotations are for, in the grammars of
// --output and --annotation.
var namedPlatform = regexp.MustCompile(`(?:annotation(?:-[a-z-]+)?|^manifest(?:-descriptor)?)\[([^\]]+)\]`)

// wantedPlatform is the platform that the request names: by --platform, or by an
// annotation for a platform that a board can have. It is empty if none does.
func (r *Request) wantedPlatform() string {
	if r.Platform != "" {
		return r.Platform
	}
	for _, flag := range slices.Concat(r.Outputs, r.Annotations) {
		for _, found := range namedPlatform.FindAllStringSubmatch(flag, -1) {
			p, err := platforms.Parse(found[1])
			if err == nil && slices.Contains(board.Platforms(), platforms.Format(platforms.Normalize(p))) {
				return found[1]
			}
		}
	}
	return ""
}

// platformOf is the platform of a variant's image.
func (o *options) platformOf(v *variant) (v1.Platform, error) {
	if !o.ownPlatform || v.target == nil {
		return o.form.platform, nil
	}
	return parsePlatform(v.target.board.Platform())
}

func parsePlatform(s string) (v1.Platform, error) {
	if s == "" {
		s = DefaultPlatform
	}
	if strings.Contains(s, ",") {
		return v1.Platform{}, usageErrorf("--platform %s: an image holds one firmware, so one platform", s)
	}
	p, err := platforms.Parse(s)
	if err != nil {
		return v1.Platform{}, usageErrorf("--platform: %w", err)
	}
	return platforms.Normalize(p), nil
}

// argName is what the Dockerfile front end accepts as the name of a build argument.
var argName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

func parseBuildArgs(args []string) (map[string]string, error) {
	parsed := map[string]string{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !argName.MatchString(name) {
			return nil, usageErrorf("--build-arg %q: want NAME=VALUE, or NAME to take it from the environment", a)
		}
		if !ok {
			// as buildx: a name that the environment does not have is left to the Dockerfile
			if value, ok = os.LookupEnv(name); !ok {
				continue
			}
		}
		parsed[name] = value
	}
	return parsed, nil
}

func parsePairs(flag string, pairs []string) (map[string]string, error) {
	parsed := map[string]string{}
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=") // as docker: KEY alone has an empty value
		if k == "" {
			return nil, usageErrorf("%s %q: want KEY=VALUE", flag, p)
		}
		parsed[k] = v
	}
	return parsed, nil
}

// normalise completes the name of an image as Docker does.
func normalise(name string) (string, error) {
	named, err := parseName(name)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

func parseName(name string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w", name, err)
	}
	return named, nil
}

// sourceDateEpoch is the time that everything in the image gets, in seconds since
// 1970 (reproducible-builds.org/specs/source-date-epoch). It defaults to 0, not to
// now, so that the same inputs always give the same digest.
func sourceDateEpoch(buildArgs map[string]string) (string, error) {
	const name = "SOURCE_DATE_EPOCH"
	where, epoch := "--build-arg", buildArgs[name]
	if epoch == "" {
		where, epoch = "the environment", os.Getenv(name)
	}
	if epoch == "" {
		return "0", nil
	}
	if !isEpoch(epoch) {
		return "", usageErrorf("%s=%s in %s: %s", name, epoch, where, wantEpoch)
	}
	return epoch, nil
}

// maxEpoch is the last second of the year 9999: no later one can be written as an
// image's config wants it (RFC 3339).
const maxEpoch = 253402300799

const wantEpoch = "want seconds since 1970, to the year 9999"

func isEpoch(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && n >= 0 && n <= maxEpoch
}

// frontendAttrs are what the Dockerfile front end is told, but for the contexts.
func (r *Request) frontendAttrs(o *options, v *variant) (map[string]string, error) {
	args := o.argsFor(v)
	if _, ok := args[nameArg]; !ok && r.Firmware != "" {
		args[nameArg] = strings.TrimSuffix(path.Base(r.Firmware), ".elf")
	}
	epoch, err := sourceDateEpoch(args)
	if err != nil {
		return nil, err
	}
	if v.platform, err = o.platformOf(v); err != nil {
		return nil, err
	}
	attrs := map[string]string{"platform": platforms.FormatAll(v.platform)}
	if r.Stage != "" {
		attrs["target"] = r.Stage
	}
	maps.Copy(attrs, o.steps)
	switch {
	case r.NoCache:
		attrs["no-cache"] = ""
	case len(r.NoCacheFilter) > 0:
		attrs["no-cache"] = strings.Join(r.NoCacheFilter, ",")
	}
	if r.Pull {
		attrs["image-resolve-mode"] = pb.AttrImageResolveModeForcePull
	}
	for kind, v := range o.attests {
		attrs["attest:"+kind] = v
	}
	for k, v := range o.labels {
		attrs["label:"+k] = v
	}
	args["SOURCE_DATE_EPOCH"] = epoch
	for k, v := range args {
		attrs["build-arg:"+k] = v
	}
	return attrs, nil
}
