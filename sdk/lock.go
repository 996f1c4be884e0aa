package sdk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// lockedOn is when base-*.lock was made (make sdk-lock): from then on Debian's
// snapshots have every package of it, wherever the mirrors have gone since.
const lockedOn = "20261125T000000Z"

// snapshots keeps every package that Debian ever had, by date.
const snapshots = "http://snapshot.debian.org/archive/"

//go:embed base-*.lock
var locks embed.FS

// lockFor is the lock of the base image for this kind of machine: entries of
// Debian's package indices, for each package that is installed.
func lockFor(arch string) ([]byte, error) {
	text, err := locks.ReadFile("base-" + arch + ".lock")
	if err != nil {
		return nil, fmt.Errorf("there is no lock of Debian's packages for %s: take those of a day with --snapshot, or of today with --unpinned", arch)
	}
	return text, nil
}

// locked is a package of the lock.
type locked struct {
	entry    []byte // its lines
	filename string // below the mirror
	sha256   string
}

// security reports whether the package is of Debian's security archive, which has
// mirrors of its own.
func (p *locked) security() bool { return strings.HasPrefix(p.filename, "pool/updates/") }

func parseLock(text []byte) ([]*locked, error) {
	var all []*locked
	for entry := range bytes.SplitSeq(bytes.TrimSpace(text), []byte("\n\n")) {
		p := &locked{entry: entry}
		for line := range bytes.Lines(entry) {
			field, value, _ := strings.Cut(strings.TrimSpace(string(line)), ": ")
			switch field {
			case "Filename":
				p.filename = value
			case "SHA256":
				p.sha256 = value
			}
		}
		if p.filename == "" || path.Clean("/"+p.filename) != "/"+p.filename || len(p.sha256) != 2*sha256.Size {
			return nil, fmt.Errorf("lock: an entry without Filename and SHA256: %.60q", entry)
		}
		all = append(all, p)
	}
	return all, nil
}

// fetchAtOnce is how many packages are fetched at a time.
const fetchAtOnce = 6

// fetchLocked fetches the packages of the lock into folder, from the first of the
// archives that has each of them as the lock says, and makes a repository of them.
func fetchLocked(ctx context.Context, lock []byte, folder string, archives []string) error {
	packages, err := parseLock(lock)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchAtOnce)
	var index bytes.Buffer
	for _, p := range packages {
		name := path.Base(p.filename)
		index.Write(bytes.Replace(p.entry, []byte("Filename: "+p.filename), []byte("Filename: ./"+name), 1))
		index.WriteString("\n\n")
		group.Go(func() error { return p.fetch(ctx, filepath.Join(folder, name), archives) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// mmdebstrap looks for what is essential in the suite by its name
	release := fmt.Sprintf("Suite: %s\nCodename: %s\nSHA256:\n %x %d Packages\n", baseSuite, baseSuite, sha256.Sum256(index.Bytes()), index.Len())
	return errors.Join(
		os.WriteFile(filepath.Join(folder, "Packages"), index.Bytes(), 0o644),
		os.WriteFile(filepath.Join(folder, "Release"), []byte(release), 0o644))
}

// fetch tries each archive, those of the package's own kind first.
func (p *locked) fetch(ctx context.Context, dest string, archives []string) error {
	var reasons []error
	for _, own := range []bool{true, false} {
		for _, archive := range archives {
			if strings.Contains(archive, "security") == p.security() != own {
				continue
			}
			err := p.fetchFrom(ctx, dest, strings.TrimSuffix(archive, "/")+"/"+p.filename)
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			reasons = append(reasons, err)
		}
	}
	if len(reasons) == 0 {
		return errors.New("no mirror of Debian is known: name one with --mirror")
	}
	return fmt.Errorf("no mirror has %s any more (%w): name another with --mirror, or take the packages of today with --unpinned",
		path.Base(p.filename), reasons[0])
}

func (p *locked) fetchFrom(ctx context.Context, dest, url string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	f, err := os.Create(dest)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), response.Body)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.sha256 {
		_ = os.Remove(dest)
		return fmt.Errorf("%s: sha256 is %s, the lock says %s", url, got, p.sha256)
	}
	return nil
}

// archivesOf are where packages of the lock are looked for, best first: the mirror
// that is named, the machine's own, Debian's, and the snapshot of the day.
func archivesOf(ctx context.Context, mirror string) []string {
	var all []string
	if mirror != "" {
		all = append(all, mirror)
	}
	for _, line := range mirrors(ctx) {
		if f := strings.Fields(line); strings.HasPrefix(f[1], "http") {
			all = append(all, f[1])
		}
	}
	return append(all,
		"http://deb.debian.org/debian", "http://deb.debian.org/debian-security",
		snapshots+"debian/"+lockedOn, snapshots+"debian-security/"+lockedOn)
}

// snapshotLines are the lines of sources.list for Debian as it was on a date.
func snapshotLines(date string) []string {
	line := func(archive, suite string) string {
		return "deb [check-valid-until=no] " + snapshots + archive + "/" + date + " " + suite + " main"
	}
	return []string{line("debian", baseSuite), line("debian", baseSuite+"-updates"), line("debian-security", baseSuite+"-security")}
}

// thisArch is what Debian and Go both call this machine's architecture.
const thisArch = runtime.GOARCH
