package claim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/firmware"
)

// stageFolder is the folder below the firmware search path that is ours.
const stageFolder = "hybrid"

// Stage puts a firmware where the kernel finds it, as hybrid/<hex>.<processor>.elf,
// where hex is the SHA-256 of its content. It stays as long as the claim, because
// recovery from a crash reads it again; quiet is what is changed in it before that,
// and the reason why each processor has its own.
func (c *Claim) Stage(content io.Reader, hex string, quiet []firmware.Patch) (err error) {
	folder, err := c.store.host.FirmwareFolder()
	if err != nil {
		return err
	}
	dir := filepath.Join(folder, stageFolder)
	unlock, err := c.store.lockFile("stage.lock", 0)
	if err != nil {
		return err
	}
	defer unlock()
	c.record.Folder, c.record.Firmware = folder, filepath.Join(stageFolder, hex+"."+c.Processor.Instance+".elf")
	c.record.Quiet = quiet
	if err := c.save(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return stageError(err)
	}
	if err := c.store.removeUnused(folder); err != nil {
		return stageError(err)
	}
	name := filepath.Join(folder, c.record.Firmware)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return stageError(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = stageError(err)
		}
	}()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	// the folder is on disk: after a power loss a name must not lead to half a firmware
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func stageError(err error) error {
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("stage the firmware: %w (set the kernel parameter firmware_class.path to a folder that can be written)", err)
	}
	return fmt.Errorf("stage the firmware: %w", err)
}

// unstage removes the staged firmware. The record keeps the folder: who is killed before the file is gone leaves that to the next.
func (c *Claim) unstage() error {
	if c.record.Folder == "" {
		return nil
	}
	unlock, err := c.store.lockFile("stage.lock", 0)
	if err != nil {
		return err
	}
	defer unlock()
	c.record.Firmware = ""
	if err := c.save(); err != nil {
		// on a full disk it goes at once: the file is then nobody's if we are killed
		// here, and the next firmware that is staged removes it
		if rerr := os.Remove(c.store.file(c.Processor, savedRecord)); rerr != nil {
			return err
		}
	}
	return c.store.removeUnused(c.record.Folder)
}

// removeUnused removes what is in our folder of the search path and in no record;
// with it what a power loss left, as it takes the records away. While a record
// cannot be read nothing is removed: it may name any of them. The caller holds the
// lock of the stage.
func (s *Store) removeUnused(folder string) error {
	used := map[string]bool{}
	records, err := filepath.Glob(filepath.Join(s.dir, "*."+savedRecord))
	if err != nil {
		return err
	}
	for _, name := range records {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var r record
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			return nil //nolint:nilerr // whoever wants that processor is told
		}
		if r.Firmware != "" {
			used[filepath.Base(r.Firmware)] = true
		}
	}
	dir := filepath.Join(folder, stageFolder)
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil // it was never made
	}
	if err != nil {
		return err
	}
	left := len(files)
	for _, f := range files {
		if used[f.Name()] || !strings.Contains(f.Name(), ".elf") {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
		left--
	}
	if left == 0 && len(used) == 0 {
		_ = os.Remove(dir) // a courtesy
	}
	return nil
}
