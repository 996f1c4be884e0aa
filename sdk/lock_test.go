package sdk

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The locks of this program have every package that is asked for, each once.
func TestLocks(t *testing.T) {
	entries, err := locks.ReadDir(".")
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d locks, %v", len(entries), err)
	}
	if _, err := time.Parse("20060102T150405Z", lockedOn); err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		arch := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "base-"), ".lock")
		text, err := lockFor(arch)
		if err != nil {
			t.Fatal(err)
		}
		packages, err := parseLock(text)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range packages {
			var name, of string
			for line := range strings.Lines(string(p.entry)) {
				field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				switch field {
				case "Package":
					name = value
				case "Architecture":
					of = value
				}
			}
			if of != arch && of != "all" {
				t.Errorf("%s: %s is for %s", e.Name(), name, of)
			}
			names = append(names, name)
		}
		for _, want := range append([]string{"apt", "dpkg", "bash", "libc6"}, basePackages...) {
			if !slices.Contains(names, want) {
				t.Errorf("%s: no %s", e.Name(), want)
			}
		}
		slices.Sort(names)
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("%s: a package is there twice: %s", e.Name(), names)
		}
	}
	if _, err := lockFor("pdp11"); err == nil || !strings.Contains(err.Error(), "no lock of Debian's packages for pdp11: take those of a day with --snapshot, or of today with --unpinned") {
		t.Errorf("%v", err)
	}
}

// lockOf is a lock of two packages, one of them of the security archive, with the
// checksums of these texts.
func lockOf(a, b string) []byte {
	return fmt.Appendf(nil, "Package: a\nVersion: 1\nFilename: pool/main/a/a_1_all.deb\nSHA256: %x\n\n"+
		"Package: b\nVersion: 2\nFilename: pool/updates/main/b/b_2_all.deb\nSHA256: %x\n", sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b)))
}

// mirror serves files by path, and keeps what was asked for.
func mirror(t *testing.T, files map[string]string) (url string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path)
		text, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestFetchLocked(t *testing.T) {
	moved, _ := mirror(t, map[string]string{"/debian/pool/main/a/a_1_all.deb": "another a"})
	url, asked := mirror(t, map[string]string{"/debian/pool/main/a/a_1_all.deb": "a", "/security/pool/updates/main/b/b_2_all.deb": "b"})
	archives := []string{moved + "/debian/", url + "/debian", url + "/security"}
	folder := t.TempDir()
	if err := fetchLocked(t.Context(), lockOf("a", "b"), folder, archives); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a_1_all.deb": "a", "b_2_all.deb": "b", "Packages": "Package: b\nVersion: 2\nFilename: ./b_2_all.deb\n", "Release": "Suite: bookworm\nCodename: bookworm\nSHA256:\n",
	} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	slices.Sort(*asked)
	if want := []string{"/debian/pool/main/a/a_1_all.deb", "/security/pool/updates/main/b/b_2_all.deb"}; !slices.Equal(*asked, want) {
		t.Errorf("asked for %v, want %v", *asked, want)
	}

	for name, c := range map[string]struct {
		lock     []byte
		archives []string
		want     string
	}{
		"gone":           {lockOf("a", "c"), archives, "no mirror has b_2_all.deb any more"},
		"another":        {lockOf("x", "b"), archives, "sha256 is "},
		"the way out":    {lockOf("x", "b"), archives, "or take the packages of today with --unpinned"},
		"nobody there":   {lockOf("a", "b"), []string{"http://127.0.0.1:1"}, "connection refused"},
		"no archive":     {lockOf("a", "b"), nil, "name one with --mirror"},
		"no lock":        {[]byte("Package: a\n"), archives, "lock: an entry without Filename"},
		"a climber":      {[]byte("Filename: ../a\nSHA256: " + strings.Repeat("0", 64)), archives, "lock: an entry without Filename"},
		"a short sha256": {[]byte("Filename: a\nSHA256: 00"), archives, "lock: an entry without Filename"},
	} {
		err := fetchLocked(t.Context(), c.lock, t.TempDir(), c.archives)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fetchLocked(ctx, lockOf("a", "b"), t.TempDir(), archives); err == nil {
		t.Error("no error of a cancelled run")
	}
}

// The base image is made of the lock's packages, and where they came from is not in
// it.
func TestPinnedBase(t *testing.T) {
	dir := t.TempDir()
	url, _ := mirror(t, map[string]string{"/debian/pool/main/a/a_1_all.deb": "a", "/security/pool/updates/main/b/b_2_all.deb": "b"})
	t.Setenv("ARGS", filepath.Join(dir, "args"))
	t.Setenv("COPY", filepath.Join(dir, "copy"))
	// what mmdebstrap writes of its sources into the image
	fakeBootstrap(t, `for l; do :; done; echo "$l" >"$ARGS"
folder=${l#*copy:}; cp -r "${folder% ./}" "$COPY"
root=$(mktemp -d); mkdir -p $root/etc/apt; echo "$l" >$root/etc/apt/sources.list; tar c -C $root .; rm -r $root`)
	var digests []string
	for _, name := range []string{"one", "two/three"} {
		d, err := (&Base{lock: lockOf("a", "b"), archives: []string{url + "/debian", url + "/security"}}).Make(t.Context(), filepath.Join(dir, name, "layout"))
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.String())
		if left, _ := filepath.Glob(filepath.Join(dir, name, ".*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if _, err := os.Stat(filepath.Join(dir, "copy", "b_2_all.deb")); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "copy")); err != nil {
			t.Fatal(err)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("digests differ: %v", digests)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil || !strings.HasPrefix(string(args), "deb [trusted=yes] copy:"+dir) {
		t.Errorf("called with %s, %v", args, err)
	}
	_, err = (&Base{lock: lockOf("a", "x"), archives: []string{url + "/debian"}}).Make(t.Context(), filepath.Join(dir, "none", "layout"))
	if err == nil || !strings.Contains(err.Error(), "no mirror has b_2_all.deb") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "none")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSources(t *testing.T) {
	fakeBootstrap(t, "")
	for want, b := range map[string]*Base{
		"deb [check-valid-until=no] http://snapshot.debian.org/archive/debian/20261101 bookworm main": {Snapshot: "20261101"},
		"deb https://m/debian bookworm main": {Unpinned: true, Mirror: "https://m/debian"},
	} {
		if lines, _, err := b.sources(t.Context(), t.TempDir()); err != nil || !slices.Contains(lines, want) {
			t.Errorf("%v, %v, want %s", lines, err, want)
		}
	}
}

func TestBaseCheck(t *testing.T) {
	for want, b := range map[string]Base{
		"":                                      {Mirror: "http://m/debian"},
		"--rootfs and --unpinned: each says":    {RootFS: "-", Unpinned: true},
		"--snapshot and --unpinned: each says":  {Snapshot: "20261101", Unpinned: true},
		`--snapshot "yesterday": want YYYYMMDD`: {Snapshot: "yesterday"},
		"--mirror is of no use with --rootfs":   {RootFS: "-", Mirror: "http://m/debian"},
		`--mirror "m": want http://HOST/debian`: {Mirror: "m"},
		"--mirror is of no use with --snapshot": {Snapshot: "20261101T120000Z", Mirror: "http://m/debian"},
	} {
		if err := b.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
