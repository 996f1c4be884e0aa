package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// memory are the files of a layout.
type memory map[string][]byte

func (m memory) Close() error { return nil }

func (m memory) open(name string) (io.ReadCloser, int64, error) {
	b, ok := m[name]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

// imageOf is an image of layers.
func imageOf(t testing.TB, layers ...[]byte) *Image {
	t.Helper()
	files := memory{}
	i := &Image{layout: &Layout{files: files}}
	for _, b := range layers {
		d := digestOf(b)
		name, _, err := blobPath(d)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
		i.layers = append(i.layers, layer{digest: d})
	}
	return i
}

// read is a file of an image, or an error.
func (i *Image) read(name string, limit int64) string {
	var b bytes.Buffer
	if err := i.CopyFile(&b, name, limit); err != nil {
		return "error: " + err.Error()
	}
	return b.String()
}

func file(name, content string) entry   { return entry{name: name, content: content} }
func directory(name string) entry       { return entry{name, "", tar.TypeDir} }
func symlink(name, target string) entry { return entry{name, target, tar.TypeSymlink} }
func hardlink(name, of string) entry    { return entry{name, of, tar.TypeLink} }
func gone(name string) entry            { return entry{name: name} }

// TestRootFS holds what a container would see of an image with these layers.
func TestRootFS(t *testing.T) {
	type layers [][]entry
	for name, c := range map[string]struct {
		layers layers
		path   string
		want   string // content, or "error: …" of which a part
	}{
		"relative link":           {layers{{file("opt/a.elf", "fw"), symlink("a.elf", "opt/a.elf")}}, "/a.elf", "fw"},
		"absolute link":           {layers{{file("opt/a.elf", "fw"), symlink("a.elf", "/opt/a.elf")}}, "/a.elf", "fw"},
		"link to a link":          {layers{{file("c", "fw"), symlink("b", "c"), symlink("a", "/b")}}, "/a", "fw"},
		"link of a folder":        {layers{{file("usr/lib/a", "fw"), symlink("lib", "usr/lib")}}, "/lib/a", "fw"},
		"link above the root":     {layers{{file("opt/a", "fw"), symlink("x/y/a", "../../../../../opt/a")}}, "/x/y/a", "fw"},
		"link over dots":          {layers{{file("opt/a", "fw"), file("opt/lib/b", ""), symlink("lib", "opt/lib"), symlink("a", "lib/../a")}}, "/a", "fw"},
		"name above the root":     {layers{{file("../../opt/a", "fw")}}, "/opt/a", "fw"},
		"path above the root":     {layers{{file("opt/a", "fw")}}, "/../../opt/a", "fw"},
		"link to outside":         {layers{{symlink("a", "/proc/self/exe")}}, "/a", "error: the image holds no /a"},
		"link to itself":          {layers{{symlink("a", "a")}}, "/a", "error: /a: too many levels of symbolic links"},
		"links in a circle":       {layers{{symlink("a", "b/c"), symlink("b", "a")}}, "/a", "error: /a: too many levels of symbolic links"},
		"link to nothing":         {layers{{symlink("a", "")}}, "/a", "error: /a is a folder"}, // the kernel has no such links
		"slash behind a file":     {layers{{file("a", "fw")}}, "/a/", "error: /a/: not a directory"},
		"dot behind a file":       {layers{{file("a", "fw")}}, "/a/.", "error: /a/.: not a directory"},
		"below a file":            {layers{{file("a", "fw")}}, "/a/b", "error: /a/b: not a directory"},
		"nothing above":           {layers{{file("a", "fw")}}, "/none/../a", "error: the image holds no /none/../a"},
		"hard link":               {layers{{file("opt/a", "fw"), hardlink("b", "opt/a")}}, "/b", "fw"},
		"absolute hard link":      {layers{{file("opt/a", "fw"), hardlink("b", "/opt/a")}}, "/b", "fw"},
		"hard link below":         {layers{{file("a", "fw")}, {hardlink("b", "a")}}, "/b", "fw"},
		"hard link to above":      {layers{{file("a", "fw"), hardlink("b", "../../a")}}, "/b", "fw"},
		"hard link of a link":     {layers{{file("a", "fw"), symlink("b", "a"), hardlink("c", "b")}}, "/c", "fw"},
		"hard link, then changed": {layers{{file("a", "old"), hardlink("b", "a")}, {file("a", "new")}}, "/b", "old"},
		"hard link, then removed": {layers{{file("a", "fw")}, {hardlink("b", "a"), gone(".wh.a")}}, "/b", "fw"},
		"hard link and whiteout":  {layers{{file("a", "fw")}, {hardlink("b", "a"), gone(".wh.b")}}, "/b", "fw"},
		"hard link to outside":    {layers{{hardlink("b", "/etc/passwd")}}, "/b", "error: layer 1 of 1: /b: hard link to /etc/passwd: file does not exist"},
		"hard link of a folder":   {layers{{directory("d"), hardlink("b", "d")}}, "/b", "error: layer 1 of 1: /b: hard link to d, which is a folder"},

		"link through a layer":       {layers{{file("usr/bin/a", "old"), symlink("bin", "usr/bin")}, {file("bin/a", "new")}}, "/usr/bin/a", "new"},
		"link of a layer above":      {layers{{file("usr/bin/a", "fw")}, {symlink("bin", "usr/bin")}}, "/bin/a", "fw"},
		"folder made by a link":      {layers{{symlink("bin", "/usr/bin")}, {file("bin/a", "fw")}}, "/usr/bin/a", "fw"},
		"folder over a link":         {layers{{file("usr/bin/a", "old"), symlink("bin", "usr/bin")}, {directory("bin"), file("bin/a", "fw")}}, "/usr/bin/a", "old"},
		"folder over a folder":       {layers{{file("d/a", "fw")}, {directory("d")}}, "/d/a", "fw"},
		"file over a folder":         {layers{{file("d/a", "fw")}, {file("d", "x")}}, "/d/a", "error: /d/a: not a directory"},
		"file, then folder":          {layers{{file("d", "x")}, {directory("d"), file("d/a", "fw")}}, "/d/a", "fw"},
		"file as a folder":           {layers{{file("d", "x")}, {file("d/a", "fw")}}, "/d/a", "error: layer 2 of 2: /d/a: not a directory"},
		"last of a layer":            {layers{{file("a", "longer first"), file("a", "second")}}, "/a", "second"},
		"root in a layer":            {layers{{directory("./"), file("./a", "fw")}}, "/a", "fw"},
		"root is a file":             {layers{{file(".", "fw")}}, "/a", "error: layer 1 of 1: /: the root of an image is a folder"},
		"whiteout":                   {layers{{file("d/a", "fw")}, {gone("d/.wh.a")}}, "/d/a", "error: the image holds no /d/a"},
		"whiteout of a folder":       {layers{{file("d/e/a", "fw")}, {gone(".wh.d")}}, "/d/e/a", "error: the image holds no /d/e/a"},
		"whiteout, then a file":      {layers{{file("a", "old")}, {gone(".wh.a"), file("a", "new")}}, "/a", "new"},
		"file, then its whiteout":    {layers{{file("a", "old")}, {file("a", "new"), gone(".wh.a")}}, "/a", "new"},
		"whiteout, again below":      {layers{{file("d/a", "old"), file("d/b", "old")}, {gone(".wh.d"), file("d/b", "new")}}, "/d/a", "error: the image holds no /d/a"},
		"whiteout in the middle":     {layers{{file("a", "old")}, {gone(".wh.a")}, {file("a", "new")}}, "/a", "new"},
		"whiteout of other":          {layers{{file("a", "fw")}, {gone(".wh.ab"), gone("x/.wh.a")}}, "/a", "fw"},
		"whiteout through a link":    {layers{{file("usr/bin/a", "fw"), symlink("bin", "usr/bin")}, {gone("bin/.wh.a")}}, "/usr/bin/a", "error: the image holds no"},
		"whiteout of a link":         {layers{{file("a", "fw"), symlink("b", "a")}, {gone(".wh.b")}}, "/a", "fw"},
		"whiteout of nothing":        {layers{{gone(".wh.")}}, "/a", "error: layer 1 of 1: /.wh.: a whiteout of nothing"},
		"whiteout of above":          {layers{{gone("d/.wh...")}}, "/a", "error: layer 1 of 1: /d/.wh...: a whiteout of nothing"},
		"opaque":                     {layers{{file("d/a", "fw"), file("b", "x")}, {gone("d/.wh..wh..opq")}}, "/d/a", "error: the image holds no /d/a"},
		"opaque spares others":       {layers{{file("d/a", "x"), file("b", "fw")}, {gone("d/.wh..wh..opq")}}, "/b", "fw"},
		"opaque, then a file":        {layers{{file("d/a", "old")}, {gone("d/.wh..wh..opq"), file("d/a", "new")}}, "/d/a", "new"},
		"file, then opaque":          {layers{{file("d/e/a", "old")}, {file("d/e/a", "new"), gone("d/.wh..wh..opq")}}, "/d/e/a", "new"},
		"opaque root":                {layers{{file("a", "fw")}, {gone(".wh..wh..opq")}}, "/a", "error: the image holds no /a"},
		"aufs":                       {layers{{file("a", "fw"), gone(".wh..wh.plnk"), gone(".wh..wh.aufs")}}, "/a", "fw"},
		"a name that looks like one": {layers{{file("a.wh.b", "fw")}, {gone(".wh.b")}}, "/a.wh.b", "fw"},

		"device":        {layers{{entry{"a", "", tar.TypeChar}}}, "/a", "error: /a is a device: the image must hold the firmware itself"},
		"block device":  {layers{{entry{"a", "", tar.TypeBlock}}}, "/a", "error: /a is a device"},
		"fifo":          {layers{{entry{"a", "", tar.TypeFifo}}}, "/a", "error: /a is a fifo"},
		"link to fifo":  {layers{{entry{"f", "", tar.TypeFifo}, symlink("a", "f")}}, "/a", "error: /a is a fifo"},
		"folder":        {layers{{directory("a")}}, "/a", "error: /a is a folder"},
		"the root":      {layers{{}}, "/", "error: / is a folder"},
		"too large":     {layers{{file("a", strings.Repeat("x", 101))}}, "/a", "error: /a is 101 bytes, the limit for firmware is 100"},
		"long name":     {layers{{file(strings.Repeat("n", 256), "")}}, "/a", "a name of more than 255 bytes"},
		"long path":     {layers{{file(strings.Repeat("d/", 2048)+"a", "")}}, "/a", "a path of more than 4096 bytes"},
		"long target":   {layers{{symlink("a", strings.Repeat("d/", 2049))}}, "/a", "a path of more than 4096 bytes"},
		"long path out": {layers{{}}, "/" + strings.Repeat("d/", 2049), "a path of more than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			var layers [][]byte
			for _, l := range c.layers {
				layers = append(layers, tarOf(t, l...))
			}
			got := imageOf(t, layers...).read(c.path, 100)
			if says, ok := strings.CutPrefix(c.want, "error"); ok || strings.HasPrefix(c.want, "a ") {
				if !strings.HasPrefix(got, "error: ") || !strings.Contains(got, says) || strings.Contains(got, "\n") {
					t.Errorf("%s, want %s", got, c.want)
				}
			} else if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// sparse is a layer with a file a of which nothing is there, as GNU tar writes it
// (--sparse-version=1.0). Package tar does not write such files: it is given the name
// of another key, of which the letter is changed.
func sparse(t *testing.T, size int64) []byte {
	t.Helper()
	holes := fmt.Sprintf("1\n%d\n0\n", size)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 512, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"GNUxsparse.major": "1", "GNUxsparse.minor": "0", "GNUxsparse.name": "a", "GNUxsparse.realsize": fmt.Sprint(size),
	}})
	if err == nil {
		_, err = io.WriteString(w, holes+strings.Repeat("\x00", 512-len(holes)))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("GNUxsparse"), []byte("GNU.sparse"))
}

func TestSparse(t *testing.T) {
	i := imageOf(t, sparse(t, 1000))
	if got := i.read("/a", 1000); got != strings.Repeat("\x00", 1000) {
		t.Errorf("%q, want 1000 zeros", got)
	}
	if got := i.read("/a", 999); got != "error: /a is 1000 bytes, the limit for firmware is 999" {
		t.Error(got)
	}
	if got := imageOf(t, sparse(t, 1<<60)).read("/a", 1<<20); got != "error: /a is 1152921504606846976 bytes, the limit for firmware is 1048576" {
		t.Error(got)
	}
}

// TestBombs: little files that want much.
func TestBombs(t *testing.T) {
	zeros := func(w io.WriteCloser, size int64) {
		a := tar.NewWriter(w)
		err := a.WriteHeader(&tar.Header{Name: "big", Typeflag: tar.TypeReg, Size: size})
		if err == nil {
			_, err = io.CopyN(a, zero{}, size)
		}
		if err = errors.Join(err, a.Close(), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	var gz, zst bytes.Buffer
	zeros(gzip.NewWriter(&gz), 96<<20)
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	zeros(z, 96<<20)
	var many []entry
	for n := range 1000 {
		many = append(many, file(strings.Repeat(fmt.Sprintf("%d/", n), 200)+"a", ""))
	}
	var deep []entry
	for n := range 100 { // each goes deeper from where the last ended
		deep = append(deep, directory(fmt.Sprintf("l%d/%s", n, strings.Repeat("d/", 100))), symlink(fmt.Sprintf("l%d", n+1), fmt.Sprintf("l%d/%s", n, strings.Repeat("d/", 100))))
	}
	deep = append([]entry{directory("l0")}, deep...)
	large := tarOf(t, entry{name: "a"})
	copy(large[124:], "77777777777\x00") // its size: 8 GiB
	copy(large[148:], "        ")
	sum := 0
	for _, c := range large[:512] {
		sum += int(c)
	}
	copy(large[148:], fmt.Sprintf("%06o\x00 ", sum))
	for name, c := range map[string]struct {
		layer []byte
		want  string
	}{
		"gzip":         {gz.Bytes(), "layer 1 of 1: more than 200 times as large without compression"},
		"zstd":         {zst.Bytes(), "layer 1 of 1: more than 200 times as large without compression"},
		"many folders": {tarOf(t, many...), "more than 100000 files"},
		"deep folders": {tarOf(t, deep...), "a path of more than 4096 bytes"},
		"huge file":    {large, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := imageOf(t, c.layer).read("/a", 100); !strings.Contains(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

type zero struct{}

func (zero) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestLargeDocuments: a layout of some megabytes does not become gigabytes in memory,
// nor in a message.
func TestLargeDocuments(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	config := []byte(`{"config": {"Entrypoint": ["/a"], "Labels": {"board": "` + long + `"}}}`)
	manifest := digestsIn(`{"config": {"digest": "#0"}}`, config)
	entry := string(digestsIn(`{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "#0"}`, manifest))
	configName, _, _ := blobPath(digestOf(config))
	manifestName, _, _ := blobPath(digestOf(manifest))
	layout := func(n int) *Layout {
		return &Layout{path: "x", files: memory{
			configName: config, manifestName: manifest,
			"index.json": []byte(`{"manifests": [` + strings.Repeat(entry+",", n-1) + entry + `]}`),
		}}
	}
	if _, err := layout(1000).Images(); err == nil || !strings.HasSuffix(err.Error(), ": more than 16777216 bytes of manifests and configs") {
		t.Errorf("a thousand manifests: %v", err)
	}
	images, err := layout(2).Images()
	if err != nil {
		t.Fatal(err)
	}
	if target, err := images[0].Target(); err != nil || len(target.Board) > 300 {
		t.Errorf("a target of %d bytes, %v", len(target.Board), err)
	}
	for name, files := range map[string]memory{
		"digest":   {"index.json": []byte(`{"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:` + long + `"}]}`)},
		"tag":      {"index.json": []byte(`{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "` + long + `"}}]}`)},
		"config":   {"manifest.json": []byte(`[{"Config": "` + long + `"}]`)},
		"layer":    {"manifest.json": []byte(`[{"Layers": ["` + long + `"]}]`)},
		"tags":     {"manifest.json": []byte(`[{"RepoTags": ["` + long + `"]}]`)},
		"layers":   {"manifest.json": []byte(`[{"Layers": [` + strings.Repeat(`"",`, 1000) + `""]}]`)},
		"document": {"index.json": []byte(long + long)},
	} {
		l := &Layout{path: "x", files: files}
		if _, err := l.Select("y", ""); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%s: %.1000v", name, err)
		}
		if _, err := l.Images(); name != "tag" && (err == nil || len(err.Error()) > 1000) {
			t.Errorf("%s: %.1000v", name, err)
		}
	}
	if _, err := ParseTargets(long); err == nil || len(err.Error()) > 1000 {
		t.Errorf("targets: %.1000v", err)
	}
	if got := imageOf(t).read("/"+long, 10); len(got) > 1000 {
		t.Errorf("%.1000s", got)
	}
}

// TestBudget: what several layers want together counts.
func TestBudget(t *testing.T) {
	one := tarOf(t, file("a", "x"))
	for name, c := range map[string]struct {
		left budget
		want string
	}{
		"enough": {budget{2, int64(2 * len(one))}, ""},
		"files":  {budget{1, int64(2 * len(one))}, "more than 100000 files"},
		"bytes":  {budget{2, int64(2*len(one)) - 1}, "more than 1073741824 bytes without compression"},
	} {
		i := imageOf(t, one)
		var err error
		for range 2 {
			if err == nil {
				_, err = i.layers[0].read(i.layout.files, &c.left, func(*tar.Header, io.Reader) error { return nil })
			}
		}
		var limit *LimitError
		if (c.want == "") != (err == nil) || (err != nil && (!errors.As(err, &limit) || !strings.Contains(err.Error(), c.want))) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzLayer feeds layers of any bytes.
func FuzzLayer(f *testing.F) {
	t := &testing.T{}
	f.Add(tarOf(t, file("hello.elf", "firmware")), tarOf(t, gone(".wh.hello.elf")))
	f.Add(gzipped(t, tarOf(t, file("opt/hello.elf", "old"), symlink("hello.elf", "/opt/../opt/hello.elf"))), tarOf(t, gone("opt/.wh..wh..opq"), file("opt/hello.elf", "x")))
	f.Add(zstdOf(t, tarOf(t, symlink("d", "."), file("d/a", "x"), hardlink("hello.elf", "d/a"))), tarOf(t))
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		var b bytes.Buffer
		i := imageOf(t, lower, upper)
		err := i.CopyFile(&b, "/hello.elf", 1000)
		if b.Len() > 1000 || (err == nil) != (i.read("/hello.elf", 1000) == b.String()) {
			t.Errorf("%d bytes of firmware, %v", b.Len(), err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("more than a line: %q", err)
		}
	})
}
