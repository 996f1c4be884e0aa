package bundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

var elfFile = elftest.File{
	Segments: []elftest.Segment{{Addr: 0x60000000, Data: []byte("code"), MemSize: 0x2000}},
	Table:    elftest.Table(elftest.Trace(0x60001000, 64, "trace")),
}.Bytes()

// write makes files below dir. A value that starts with "-> " is a link, with "=> " a
// hard link of a file below dir, "fifo" a fifo, "socket" a socket, "sparse" a file
// with nothing in it, a name that ends in / a folder.
func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	names := slices.Collect(maps.Keys(files))
	slices.SortFunc(names, func(a, b string) int { // hard links when what they are of is there
		return cmp.Or(cmp.Compare(strings.Index(files[a], "=> "), strings.Index(files[b], "=> ")), cmp.Compare(a, b))
	})
	for _, name := range names {
		full, content := filepath.Join(dir, name), files[name]
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		if err == nil {
			target, link := strings.CutPrefix(content, "-> ")
			switch {
			case strings.HasSuffix(name, "/"):
				err = os.MkdirAll(full, 0o755)
			case link:
				err = os.Symlink(target, full)
			case strings.HasPrefix(content, "=> "):
				err = os.Link(filepath.Join(dir, content[3:]), full)
			case content == "fifo":
				err = unix.Mkfifo(full, 0o644)
			case content == "socket":
				err = unix.Mknod(full, unix.S_IFSOCK|0o644, 0)
			case content == "sparse":
				if err = os.WriteFile(full, elfFile, 0o644); err == nil {
					err = os.Truncate(full, 1<<40)
				}
			default:
				err = os.WriteFile(full, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// within fails the test if f waits for something: a fifo, a device.
func within(t *testing.T, f func() (*Firmware, error)) (*Firmware, error) {
	t.Helper()
	type result struct {
		fw  *Firmware
		err error
	}
	done := make(chan result, 1)
	go func() {
		fw, err := f()
		done <- result{fw, err}
	}()
	select {
	case r := <-done:
		return r.fw, r.err
	case <-time.After(5 * time.Second):
		t.Fatal("it waits")
		return nil, nil
	}
}

// check wants the firmware, unchanged, or an error that says so.
func check(t *testing.T, fw *Firmware, err error, says string) {
	t.Helper()
	if says != "" {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than a line: %q", err)
		}
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer fw.Close()
	content, err := io.ReadAll(fw.Content())
	if err != nil || !bytes.Equal(content, elfFile) {
		t.Errorf("%d bytes, %v, want %d", len(content), err, len(elfFile))
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(content)); fw.Hex != sum {
		t.Errorf("digest %s, want %s", fw.Hex, sum)
	}
	if !filepath.IsAbs(fw.Bundle) || len(fw.ELF.Segments) != 1 {
		t.Errorf("bundle %q, %d segments", fw.Bundle, len(fw.ELF.Segments))
	}
}

func TestFromPath(t *testing.T) {
	elf := string(elfFile)
	for name, c := range map[string]struct {
		files map[string]string
		path  string
		says  string
	}{
		"file":              {map[string]string{"a.elf": elf}, "a.elf", ""},
		"only one":          {map[string]string{"a.elf": elf, "notes.txt": "text", "empty": "", "sub/b.elf": elf}, "", ""},
		"link":              {map[string]string{"a": "-> sub/b.elf", "sub/b.elf": elf}, "a", ""},
		"beside oddities":   {map[string]string{"a": elf, "dead": "-> nowhere", "loop": "-> loop", "pipe": "fifo", "dev": "-> /dev/zero"}, "", ""},
		"two":               {map[string]string{"a": elf, "b": elf}, "", "holds 2 ELF files, name one: a, b"},
		"none":              {map[string]string{"notes.txt": "text"}, "", "no ELF file in "},
		"absent":            {nil, "a.elf", "a.elf: no such file or directory"},
		"below a file":      {map[string]string{"a": elf}, "a/b", "not a directory"},
		"text":              {map[string]string{"notes.txt": "text"}, "notes.txt", "notes.txt: not an ELF file"},
		"empty":             {map[string]string{"a": ""}, "a", "not an ELF file"},
		"cut short":         {map[string]string{"a": elf[:60]}, "a", "cut short"},
		"fifo":              {map[string]string{"pipe": "fifo"}, "pipe", "pipe is not a regular file"},
		"device":            {map[string]string{"dev": "-> /dev/zero"}, "dev", "dev is not a regular file"},
		"loop":              {map[string]string{"loop": "-> loop"}, "loop", "too many levels of symbolic links"},
		"link to elsewhere": {map[string]string{"a": "-> nowhere"}, "a", "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(write(t, t.TempDir(), c.files), c.path)
			fw, err := within(t, func() (*Firmware, error) { return FromPath(path) })
			check(t, fw, err, c.says)
		})
	}
}

// What is larger than any firmware is refused by its size: a copy of it would be
// in memory.
func TestTooLarge(t *testing.T) {
	name := filepath.Join(t.TempDir(), "huge.elf")
	if err := os.WriteFile(name, elfFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 1<<40); err != nil { // sparse
		t.Fatal(err)
	}
	fw, err := within(t, func() (*Firmware, error) { return FromPath(name) })
	check(t, fw, err, "huge.elf is larger than 268435456 bytes, the limit for firmware")
}

// Looking for the firmware of a folder opens nothing but files: opening the device of
// a watchdog starts it.
func TestFolderOfDevices(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{"a.elf": string(elfFile), "pipe": "fifo", "link": "-> pipe"})
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, filepath.Join(dir, "pipe"), unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	fw, err := FromPath(dir)
	check(t, fw, err, "")
	if n, err := unix.Read(watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("the fifo was opened: %d bytes of events, %v", n, err)
	}
}

// A change of the file after it was checked changes nothing.
func TestSnapshot(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.elf")
	if err := os.WriteFile(name, elfFile, 0o644); err != nil {
		t.Fatal(err)
	}
	fw, err := FromPath(name)
	if err == nil {
		err = os.WriteFile(name, []byte("something else"), 0o644)
	}
	check(t, fw, err, "")
}

func TestFromBundle(t *testing.T) {
	elf := string(elfFile)
	const config = `{"ociVersion": "1.0.2", "process": {"args": ["fw.elf"], "cwd": "/", "env": ["HYBRID_BOARD=imx8m-mini", "HYBRID_MCU=cortex-m4"]}, "root": {"path": "rootfs"}}`
	args := func(name string) string { return strings.Replace(config, "fw.elf", name, 1) }
	for name, c := range map[string]struct {
		files map[string]string
		says  string
	}{
		"plain":              {map[string]string{"config.json": config, "rootfs/fw.elf": elf}, ""},
		"absolute":           {map[string]string{"config.json": args("/opt/fw.elf"), "rootfs/opt/fw.elf": elf}, ""},
		"link":               {map[string]string{"config.json": config, "rootfs/fw.elf": "-> opt/fw", "rootfs/opt/fw": elf}, ""},
		"absolute link":      {map[string]string{"config.json": config, "rootfs/fw.elf": "-> /opt/fw", "rootfs/opt/fw": elf}, ""},
		"docker --init":      {map[string]string{"config.json": args(`/sbin/docker-init", "--", "fw.elf`), "rootfs/fw.elf": elf}, ""},
		"podman --init":      {map[string]string{"config.json": args(`/run/podman-init", "--", "/fw.elf`), "rootfs/fw.elf": elf}, ""},
		"older --init":       {map[string]string{"config.json": args(`/dev/init", "--", "/fw.elf`), "rootfs/fw.elf": elf}, ""},
		"init alone":         {map[string]string{"config.json": args(`/sbin/docker-init", "--`), "rootfs/fw.elf": elf}, "no /sbin/docker-init in the root file system"},
		"another --":         {map[string]string{"config.json": args(`/sbin/other", "--", "fw.elf`), "rootfs/fw.elf": elf}, "no /sbin/other in the root file system"},
		"init of nothing":    {map[string]string{"config.json": args(`/sbin/docker-init", "--", "`), "rootfs/fw.elf": elf}, "process.args of config.json is empty"},
		"link above root":    {map[string]string{"config.json": config, "rootfs/fw.elf": "-> ../../opt/fw", "rootfs/opt/fw": elf}, ""},
		"dots":               {map[string]string{"config.json": args("../../../fw.elf"), "rootfs/fw.elf": elf}, ""},
		"unknown properties": {map[string]string{"config.json": `{"future": 1,` + config[1:], "rootfs/fw.elf": elf}, ""},
		"link to outside":    {map[string]string{"config.json": config, "rootfs/fw.elf": "-> ../outside.elf", "outside.elf": elf}, "no /fw.elf in the root file system"},
		"folder to outside":  {map[string]string{"config.json": args("/opt/fw.elf"), "rootfs/opt": "-> ../out", "out/fw.elf": elf}, "no /opt/fw.elf in the root file system"},
		"loop":               {map[string]string{"config.json": config, "rootfs/fw.elf": "-> fw.elf"}, "/fw.elf: "},
		"loop of two":        {map[string]string{"config.json": config, "rootfs/fw.elf": "-> a/fw.elf", "rootfs/a": "-> ."}, "/fw.elf: "},
		"hard link":          {map[string]string{"config.json": config, "rootfs/opt/fw": elf, "rootfs/fw.elf": "=> rootfs/opt/fw"}, ""},
		"link over dots":     {map[string]string{"config.json": config, "rootfs/fw.elf": "-> lib/../fw", "rootfs/opt/fw": elf, "rootfs/opt/lib/": "", "rootfs/lib": "-> opt/lib"}, ""},
		"absolute above":     {map[string]string{"config.json": config, "rootfs/fw.elf": "-> /../../opt/fw", "rootfs/opt/fw": elf}, ""},
		"link to /proc":      {map[string]string{"config.json": config, "rootfs/fw.elf": "-> /proc/self/exe"}, "no /fw.elf in the root file system"},
		"link to a device":   {map[string]string{"config.json": config, "rootfs/fw.elf": "-> /dev/zero"}, "no /fw.elf in the root file system"},
		"link to a fifo":     {map[string]string{"config.json": config, "rootfs/fw.elf": "-> pipe", "rootfs/pipe": "fifo"}, "/fw.elf is not a regular file"},
		"socket":             {map[string]string{"config.json": config, "rootfs/fw.elf": "socket"}, "/fw.elf is not a regular file"},
		"huge and sparse":    {map[string]string{"config.json": config, "rootfs/fw.elf": "sparse"}, "/fw.elf is larger than 268435456 bytes, the limit for firmware"},
		"long name":          {map[string]string{"config.json": args(strings.Repeat("n", 256)), "rootfs/": ""}, "file name too long"},
		"long path":          {map[string]string{"config.json": args(strings.Repeat("d/", 2049)), "rootfs/": ""}, "process.args of config.json starts with a path of more than 4096 bytes"},
		"zero byte":          {map[string]string{"config.json": args("fw.elf\\u0000"), "rootfs/fw.elf": elf}, "invalid argument"},
		"fifo":               {map[string]string{"config.json": config, "rootfs/fw.elf": "fifo"}, "/fw.elf is not a regular file"},
		"folder":             {map[string]string{"config.json": config, "rootfs/fw.elf/": ""}, "/fw.elf is not a regular file"},
		"no ELF":             {map[string]string{"config.json": config, "rootfs/fw.elf": "text"}, "/fw.elf: not an ELF file"},
		"no file":            {map[string]string{"config.json": config, "rootfs/": ""}, "no /fw.elf in the root file system"},
		"no root":            {map[string]string{"config.json": config}, "no /fw.elf in the root file system"},
		"no config":          {nil, "config.json: no such file or directory"},
		"config is a fifo":   {map[string]string{"config.json": "fifo"}, "config.json is not a regular file"},
		"no JSON":            {map[string]string{"config.json": "{"}, "config.json: unexpected end of JSON input"},
		"wrong type":         {map[string]string{"config.json": `{"process": {"args": "fw.elf"}}`}, "config.json: json: cannot unmarshal string"},
		"no process":         {map[string]string{"config.json": `{"ociVersion": "1.3.0", "root": {"path": "rootfs"}}`}, "process.args of config.json is empty"},
		"no args":            {map[string]string{"config.json": `{"ociVersion": "1.3.0", "process": {"args": []}, "root": {"path": "rootfs"}}`}, "process.args of config.json is empty"},
		"empty arg":          {map[string]string{"config.json": args("")}, "process.args of config.json is empty"},
		"no root.path":       {map[string]string{"config.json": `{"ociVersion": "1.3.0", "process": {"args": ["a"]}}`}, "config.json has no root.path"},
		"no cwd":             {map[string]string{"config.json": strings.Replace(config, `"cwd": "/"`, `"cwd": ""`, 1), "rootfs/fw.elf": elf}, `process.cwd "" of config.json is not an absolute path`},
		"cwd not absolute":   {map[string]string{"config.json": strings.Replace(config, `"cwd": "/"`, `"cwd": "opt"`, 1), "rootfs/opt/fw.elf": elf}, `process.cwd "opt" of config.json is not an absolute path`},
		"annotation, no key": {map[string]string{"config.json": `{"annotations": {"": "x"}, ` + config[1:], "rootfs/fw.elf": elf}, "an annotation of config.json has no key"},
		"no version":         {map[string]string{"config.json": "{}"}, "config.json has no ociVersion"},
		"a future version":   {map[string]string{"config.json": strings.Replace(config, "1.0.2", "2.0.0", 1)}, "ociVersion 2.0.0 of config.json is not supported: want 1.x"},
		"not a version":      {map[string]string{"config.json": strings.Replace(config, "1.0.2", "one", 1)}, `ociVersion "one" of config.json is not a version`},
		"large config":       {map[string]string{"config.json": strings.Repeat(" ", maxConfig+1)}, "config.json: more than 8388608 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, t.TempDir(), c.files)
			fw, err := within(t, func() (*Firmware, error) { return FromBundle(dir, nil) })
			check(t, fw, err, c.says)
			if err == nil && (fw.Target != image.Target{Board: "imx8m-mini", MCU: "cortex-m4"} || fw.Version != "1.0.2") {
				t.Errorf("target %v, version %q", fw.Target, fw.Version)
			}
		})
	}
}

// Annotations of the bundle come before the environment of the image.
func TestBundleTarget(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{
		"rootfs/fw.elf": string(elfFile),
		"config.json": `{"ociVersion": "1.2.0", "process": {"args": ["fw.elf"], "cwd": "/", "env": ["HYBRID_BOARD=b", "HYBRID_MCU=m", "PATH=/bin"]},
			"root": {"path": "rootfs"}, "annotations": {"board": "a", "remoteproc.name": "remoteproc1", "other": "kept"}}`,
	})
	fw, err := FromBundle(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fw.Close()
	if want := (image.Target{Board: "a", MCU: "m", Processor: "remoteproc1"}); fw.Target != want || fw.Annotations["other"] != "kept" {
		t.Errorf("target %+v, annotations %v", fw.Target, fw.Annotations)
	}
}

// here is a Host with an i.MX8M Mini or whatever board stands for it.
type here struct{ board, mcu, pinned string }

func (h here) String() string { return h.board + " with remoteproc0: " + h.mcu }

func (h here) Fits(t image.Target) (int, error) {
	distance := map[string]int{h.board: 0, "family": 1, "": 2}
	d, ok := distance[t.Board]
	switch {
	case !ok:
		return 0, fmt.Errorf("board %s wanted, this is %s", t.Board, h.board)
	case t.MCU != "" && t.MCU != h.mcu:
		return 0, fmt.Errorf("core %s wanted, this is %s", t.MCU, h)
	case h.pinned != "" || t.Processor == "remoteproc7":
		return 0, &PinError{Want: "remoteproc7", Fits: []string{"remoteproc0"}}
	}
	return d, nil
}

// Of a packed image the program for the closest target is taken, of equals the first;
// an annotation chooses among a board's cores.
func TestBundlePacked(t *testing.T) {
	elf := string(elfFile)
	const list = "imx8m-mini/cortex-m4,imx943-evk/cortex-m7,imx943-evk/cortex-m33"
	for name, c := range map[string]struct {
		targets, annotations string
		here                 here
		want, says           string
	}{
		"first":       {list, `{}`, here{"imx943-evk", "cortex-m7", ""}, "imx943-evk/cortex-m7", ""},
		"chosen":      {list, `{"mcu": "cortex-m33"}`, here{"imx943-evk", "cortex-m33", ""}, "imx943-evk/cortex-m33", ""},
		"closest":     {"family/cortex-m7,imx943-evk/cortex-m7", `{}`, here{"imx943-evk", "cortex-m7", ""}, "imx943-evk/cortex-m7", ""},
		"pinned":      {list, `{"remoteproc.name": "remoteproc7"}`, here{"imx943-evk", "cortex-m7", ""}, "", "processor remoteproc7 wanted, what fits here is remoteproc0"},
		"no such":     {list, `{"mcu": "cortex-r5f"}`, here{"imx943-evk", "cortex-m7", ""}, "", "is for imx8m-mini/cortex-m4, imx943-evk/cortex-m7 and imx943-evk/cortex-m33; core cortex-r5f wanted, this is imx943-evk with remoteproc0: cortex-m7"},
		"none fits":   {"imx8m-mini/cortex-m4,imx93-evk/cortex-m33", `{}`, here{"imx943-evk", "cortex-m7", ""}, "", "is for imx8m-mini/cortex-m4 and imx93-evk/cortex-m33; this is imx943-evk with"},
		"file absent": {"imx943-evk/cortex-m0,imx8m-mini/cortex-m4", `{}`, here{"imx943-evk", "cortex-m0", ""}, "", "no /imx943-evk/cortex-m0/fw.elf in the root file system"},
		"leads out":   {"../a,imx8m-mini/cortex-m4", `{}`, here{"imx943-evk", "cortex-m7", ""}, "", `"../a" is not BOARD/MCU`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, t.TempDir(), map[string]string{
				"rootfs/imx8m-mini/cortex-m4/fw.elf": "text", "rootfs/imx943-evk/cortex-m7/fw.elf": elf, "rootfs/imx943-evk/cortex-m33/fw.elf": elf,
				"config.json": `{"ociVersion": "1.0.2", "process": {"args": ["fw.elf"], "cwd": "/", "env": ["HYBRID_TARGETS=` + c.targets + `"]},
					"root": {"path": "rootfs"}, "annotations": ` + c.annotations + `}`,
			})
			fw, err := within(t, func() (*Firmware, error) { return FromBundle(dir, c.here) })
			check(t, fw, err, c.says)
			if err == nil && fw.Target.String() != c.want {
				t.Errorf("target %v, want %s", fw.Target, c.want)
			}
		})
	}
}

// layout writes an OCI layout with one image per target; each holds content as /fw.elf.
func layout(t *testing.T, content string, targets ...image.Target) string {
	t.Helper()
	dir := t.TempDir()
	blob := func(mediaType string, b []byte) map[string]any {
		sum := fmt.Sprintf("%x", sha256.Sum256(b))
		write(t, dir, map[string]string{"blobs/sha256/" + sum: string(b)})
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(b)}
	}
	encode := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err := w.WriteHeader(&tar.Header{Name: "fw.elf", Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o755})
	if err == nil {
		_, err = io.WriteString(w, content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	var manifests []any
	for _, target := range targets {
		manifests = append(manifests, blob("application/vnd.oci.image.manifest.v1+json", encode(map[string]any{
			"schemaVersion": 2, "annotations": map[string]string{image.KeyBoard: target.Board, image.KeyMCU: target.MCU},
			"layers": []any{blob("application/vnd.oci.image.layer.v1.tar", layer.Bytes())},
			"config": blob("application/vnd.oci.image.config.v1+json", encode(map[string]any{"config": map[string]any{"Entrypoint": []string{"fw.elf"}}})),
		})))
	}
	write(t, dir, map[string]string{"index.json": string(encode(map[string]any{"schemaVersion": 2, "manifests": manifests}))})
	return dir
}

func TestFromImage(t *testing.T) {
	mini := here{"imx8m-mini", "cortex-m4", ""}
	elf := string(elfFile)
	own, imx93, stm32 := image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, image.Target{Board: "imx93-evk", MCU: "cortex-m33"}, image.Target{Board: "stm32mp157c-dk2", MCU: "cortex-m4"}
	family, anywhere := image.Target{Board: "family", MCU: "cortex-m4"}, image.Target{MCU: "cortex-m4"}
	one := layout(t, elf, own)
	for name, c := range map[string]struct {
		image string
		here  here
		want  image.Target
		says  string
	}{
		"one":            {one, mini, own, ""},
		"oci:":           {"oci:" + one, mini, own, ""},
		"second fits":    {layout(t, elf, imx93, own), mini, own, ""},
		"closest":        {layout(t, elf, anywhere, family, own), mini, own, ""},
		"family":         {layout(t, elf, imx93, anywhere, family), mini, family, ""},
		"anywhere":       {layout(t, elf, imx93, anywhere), mini, anywhere, ""},
		"none fits":      {layout(t, elf, imx93), mini, own, ": board imx93-evk wanted, this is imx8m-mini"},
		"neither":        {layout(t, elf, imx93, stm32, imx93), mini, own, " is for imx93-evk/cortex-m33 and stm32mp157c-dk2/cortex-m4; this is imx8m-mini with remoteproc0: cortex-m4"},
		"pinned":         {layout(t, elf, imx93, own), here{"imx8m-mini", "cortex-m4", "remoteproc7"}, own, ": processor remoteproc7 wanted, what fits here is remoteproc0"},
		"no ELF":         {layout(t, "text", own), mini, own, "/fw.elf: not an ELF file"},
		"no image":       {layout(t, ""), mini, own, "its index lists no image"},
		"no layout":      {t.TempDir(), mini, own, "holds no index.json: want an OCI layout"},
		"absent":         {filepath.Join(t.TempDir(), "absent"), mini, own, "absent: no such file or directory"},
		"no tag":         {one + ":v1", mini, own, `has no tag "v1": its images have no tags`},
		"no such digest": {one + "@sha256:" + strings.Repeat("0", 64), mini, own, "its index lists no image sha256:000"},
		"no engine":      {"hello", mini, own, "image hello: no such file or folder, and no engine to ask: none of docker, ctr, podman is in PATH"},
		"option":         {"-v", mini, own, `"-v" is not the name of an image`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", "")
			fw, err := within(t, func() (*Firmware, error) { return FromImage(t.Context(), c.image, c.here) })
			check(t, fw, err, c.says)
			if err == nil && fw.Target != c.want {
				t.Errorf("target %v, want %v", fw.Target, c.want)
			}
		})
	}
}

// An image that an engine has is taken from what the engine writes; its name stands
// for a path.
func TestFromEngine(t *testing.T) {
	own := image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}
	dir := t.TempDir()
	name := filepath.Join(dir, "image.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := errors.Join(w.AddFS(os.DirFS(layout(t, string(elfFile), own))), w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\nexec /bin/cat "+name+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, image := range []string{"docker:hello", "hello"} {
		fw, err := FromImage(t.Context(), image, here{"imx8m-mini", "cortex-m4", ""})
		if err != nil {
			t.Fatal(err)
		}
		if fw.Bundle != image || fw.Target != own || fw.Name != "image "+image+": /fw.elf" {
			t.Errorf("%+v", fw)
		}
		fw.Close()
	}
}

// FuzzConfig reads bundles whose config.json is anything: nothing but files of the
// root file system is taken.
func FuzzConfig(f *testing.F) {
	f.Add(`{"ociVersion": "1.0.2", "process": {"args": ["fw.elf"], "cwd": "/", "env": ["HYBRID_BOARD=imx8m-mini"]}, "root": {"path": "rootfs"}}`)
	f.Add(`{"process": {"args": ["../../outside.elf"], "cwd": "../.."}, "root": {"path": "rootfs"}, "annotations": {"board": "x"}}`)
	f.Add(`{"process": {"args": ["/link"], "env": ["HYBRID_TARGETS=a/b,imx8m-mini/cortex-m4"]}, "root": {"path": "rootfs"}}`)
	dir, err := os.MkdirTemp("", "fuzz-config")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	for name, content := range map[string]string{
		"rootfs/fw.elf": string(elfFile), "rootfs/imx8m-mini/cortex-m4/link": string(elfFile), "outside.elf": "outside",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.Symlink("../outside.elf", filepath.Join(dir, "rootfs/link")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, config string) {
		spec := struct{ Root struct{ Path string } }{}
		if json.Unmarshal([]byte(config), &spec) == nil && spec.Root.Path != "rootfs" {
			return // who writes that may choose the root file system
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		fw, err := FromBundle(dir, here{"imx8m-mini", "cortex-m4", ""})
		if err != nil {
			return
		}
		defer fw.Close()
		if b, err := io.ReadAll(fw.Content()); err != nil || !bytes.Equal(b, elfFile) {
			t.Errorf("firmware of %d bytes from %s, %v", len(b), config, err)
		}
	})
}

func TestCheckVersion(t *testing.T) {
	for _, version := range []string{"1.0.0", "1.0.2-dev", "1.3.0", "1.99.0", "1.0.0-rc5", "1.0.0-rc.1+git.a-b"} {
		if err := checkVersion(version); err != nil {
			t.Errorf("%q: %v", version, err)
		}
	}
	for _, version := range []string{"", "1", "1.", "1.2", "1..0", "1.x.y", "v1.0.0", "1.0.0.0", "1.0.0-", "1.2.0-dev\n", "1.0.0 ", "0.9.0", "2.0.0", "01x.0.0"} {
		if err := checkVersion(version); err == nil {
			t.Errorf("%q was taken", version)
		}
	}
}

// What makes a core do nothing must leave the file one that the kernel loads.
func TestQuiet(t *testing.T) {
	good := elftest.File{
		Segments: []elftest.Segment{{Addr: 0x60000000, Data: make([]byte, 64), MemSize: 0x2000}}, Entry: 0x6000002d, // where a header has its counts
	}.Bytes()
	// entered in its header, which is loaded, too
	hostile := bytes.Clone(good)
	binary.LittleEndian.PutUint32(hostile[elftest.HeaderSize32+elftest.ProgOffset32:], 0)
	for name, c := range map[string]struct {
		file []byte
		want int
	}{
		"good":                  {good, 1},
		"entered in its header": {hostile, 0},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "fw.elf")
			if err := os.WriteFile(file, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			fw, err := FromPath(file)
			if err != nil {
				t.Fatal(err)
			}
			defer fw.Close()
			if got := fw.Quiet(board.Core{MCU: "cortex-m4"}); len(got) != c.want {
				t.Errorf("%v, want %d patches", got, c.want)
			}
		})
	}
}
