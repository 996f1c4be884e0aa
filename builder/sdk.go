package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"

	"github.com/hybrid-containers/hybrid/sdk"
)

// What mcuxpresso.Dockerfile is told about the archive behind NXP's login.
const (
	argSDKFrom       = "SDK_FROM"
	argArchiveURL    = "SDK_ARCHIVE_URL"
	argArchiveSHA256 = "SDK_ARCHIVE_SHA256"
	archiveContext   = "archive"
	fromArchive      = "archive"
)

// sdk is the SDK that is asked for, or the one that a Dockerfile of the user's may
// want.
func (r *Request) sdk() string {
	if r.SDK == "" {
		return sdk.BareMetal
	}
	return r.SDK
}

// detectSDK is the SDK that is asked for, or else the one that the project's files
// want; name is the project's, for messages.
func (r *Request) detectSDK(name string, project fs.FS) (string, error) {
	if r.SDK != "" {
		if err := sdk.Known(r.SDK); err != nil {
			return "", usageErrorf("--sdk: %w", err)
		}
		return r.SDK, nil
	}
	wanted, err := sdk.Detect(project)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return wanted, nil
}

// addSDK gives the Dockerfile what it needs beside the project: the SDK, if that is
// part of this program, and, to one of our own, what the SDK calls the target.
func (b *build) addSDK() error {
	name, ours := b.request.sdk(), b.dockerfile.ours
	if ours {
		name = b.dockerfile.sdk
	}
	if err := b.addArchive(name, ours); err != nil {
		return err
	}
	if ours {
		for _, v := range b.variants {
			if err := v.addBoard(name); err != nil {
				return err
			}
		}
		if err := b.usePulled(name); err != nil {
			return err
		}
	}
	if b.sources.has("sdk") {
		return nil
	}
	tree, err := sdk.Sources(name)
	if err != nil {
		return usageErrorf("--sdk: %w", err)
	}
	if tree == nil {
		return nil
	}
	return b.sources.input("sdk", tree)
}

// addBoard tells the Dockerfile what the SDK calls the target, unless the user does.
// The bare-metal SDK has the catalogue's names.
func (v *variant) addBoard(name string) error {
	if _, ok := v.attrs["build-arg:"+sdk.ArgBoard]; ok || name == sdk.BareMetal || v.target == nil {
		return nil
	}
	board, err := sdk.BoardOf(name, v.target.board.Name(), v.target.core.MCU)
	if err != nil {
		return err
	}
	v.attrs["build-arg:"+sdk.ArgBoard] = board.Name
	if _, ok := v.attrs["build-arg:"+sdk.ArgDevice]; !ok && board.Device != "" {
		v.attrs["build-arg:"+sdk.ArgDevice] = board.Device
	}
	return nil
}

// setArg sets a build argument for every target.
func (b *build) setArg(name, value string) {
	for _, v := range b.variants {
		v.attrs["build-arg:"+name] = value
	}
}

// sdkArchive is --sdk-archive: a file or a URL, and the checksum that it must have.
type sdkArchive struct {
	file, url string // one of them
	sha256    string // hexadecimal; "": any
}

// pinned is the end of --sdk-archive that says the checksum.
var pinned = regexp.MustCompile(`^(.*),sha256=([0-9A-Za-z]*)$`)

// parseArchive reads FILE|URL[,sha256=HEX].
func parseArchive(flag string) (*sdkArchive, error) {
	a := &sdkArchive{file: flag}
	if m := pinned.FindStringSubmatch(flag); m != nil {
		a.file, a.sha256 = m[1], strings.ToLower(m[2])
		if len(a.sha256) != 64 || strings.Trim(a.sha256, "0123456789abcdef") != "" {
			return nil, usageErrorf("--sdk-archive: sha256=%s is not 64 hexadecimal digits", m[2])
		}
	}
	if a.file == "" {
		return nil, usageErrorf("--sdk-archive %q: want FILE or URL, and ,sha256=HEX if it must be that one", flag)
	}
	if !strings.Contains(a.file, "://") {
		return a, nil
	}
	a.url, a.file = a.file, ""
	u, err := url.Parse(a.url)
	switch {
	case err != nil:
		return nil, usageErrorf("--sdk-archive: %w", errors.Unwrap(err)) // the URL may hold a token: it is not repeated
	case u.User != nil:
		return nil, usageErrorf("--sdk-archive: the URL has a user name, which would be in the build's history: use --secret id=nxp_token")
	case u.Scheme == "https":
	case u.Scheme == "http" && isLoopback(u.Hostname()):
	default:
		return nil, usageErrorf("--sdk-archive: %s:// shows the token to everybody on the way: want https://", u.Scheme)
	}
	return a, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// addArchive gives the Dockerfile the archive of --sdk-archive: a file as a named
// context that holds it alone, a URL as a build argument.
func (b *build) addArchive(name string, ours bool) error {
	flag := b.request.SDKArchive
	if flag == "" {
		return nil
	}
	switch {
	case !ours:
		return usageErrorf("--sdk-archive is for hybrid's own Dockerfile of %s, the project has %s", sdk.MCUXpresso, b.dockerfile.name)
	case name != sdk.MCUXpresso:
		return usageErrorf("--sdk-archive is for --sdk %s, this build uses %s", sdk.MCUXpresso, name)
	}
	if b.sources.has("sdk") {
		return usageErrorf("--sdk-archive and --build-context sdk: an SDK can come from one place")
	}
	a, err := parseArchive(flag)
	if err != nil {
		return err
	}
	b.setArg(argSDKFrom, fromArchive)
	if a.sha256 != "" {
		b.setArg(argArchiveSHA256, a.sha256)
	}
	if a.url != "" {
		b.setArg(argArchiveURL, a.url)
		return nil
	}
	switch info, err := os.Stat(a.file); {
	case err != nil:
		return fmt.Errorf("--sdk-archive: %s: %w", a.file, reason(err))
	case info.IsDir():
		return fmt.Errorf("--sdk-archive: %s is a folder: use --build-context sdk=%s", a.file, a.file)
	case !info.Mode().IsRegular():
		return fmt.Errorf("--sdk-archive: %s is not a file", a.file)
	}
	return b.sources.mountFile(archiveContext, a.file)
}

// mountFile gives the front end one file of this machine as the named context name,
// and nothing of what lies beside it.
func (s *sources) mountFile(name, file string) error {
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, reason(err))
	}
	folder, err := fsutil.NewFS(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	base := filepath.Base(file)
	only, err := fsutil.NewFilterFS(folder, &fsutil.FilterOpt{Map: func(path string, stat *fstypes.Stat) fsutil.MapResult {
		if path == base {
			return fsutil.MapResultKeep
		}
		if stat.IsDir() {
			return fsutil.MapResultSkipDir
		}
		return fsutil.MapResultExclude
	}})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	s.mounts[name] = only
	s.attrs["context:"+name] = "local:" + name
	return nil
}
