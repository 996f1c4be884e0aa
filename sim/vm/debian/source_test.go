package debian

import (
	"testing"
	"testing/fstest"
)

func TestSourceOf(t *testing.T) {
	const deb822 = `Types: deb
# a comment
URIs: https://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/own.gpg

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
`
	const other = "Types: deb\nURIs: https://deb.vendor.example/x\nSuites: nodistro\nComponents: main\n"
	tests := map[string]struct {
		files map[string]string
		want  Source
	}{
		"nothing": {nil, Default},
		"deb822":  {map[string]string{"sources.list.d/debian.sources": deb822, "sources.list.d/a.sources": other}, Source{"https://mirror.example/debian", "/usr/share/keyrings/own.gpg"}},
		"deb822, key inside": {
			map[string]string{"sources.list.d/debian.sources": "Types: deb deb-src\nURIs: http://m.example/debian\nSuites: stable\nComponents: contrib\n main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"},
			Source{"http://m.example/debian", Default.Keyring},
		},
		"deb822, disabled": {map[string]string{"sources.list.d/debian.sources": "Enabled: no\n" + deb822}, Default},
		"one line": {
			map[string]string{"sources.list": "# deb http://no.example/debian bookworm main\ndeb-src http://no.example/debian bookworm main\ndeb  http://m.example/debian/ bookworm main contrib # why\n"},
			Source{"http://m.example/debian", Default.Keyring},
		},
		"one line, options": {map[string]string{"sources.list": "deb [ arch=amd64 signed-by=/k.gpg ] http://m.example/debian sid main\n"}, Source{"http://m.example/debian", "/k.gpg"}},
		"one line, others":  {map[string]string{"sources.list.d/x.list": "deb https://packages.example/apt cloud-bookworm main\ndeb http://s.example/debian-security bookworm-security main\ndeb cdrom:[Debian]/ bookworm main\ndeb http://short.example\n"}, Default},
		"hostile":           {map[string]string{"sources.list": "deb http://m.example/\"; bookworm main\n"}, Default},
	}
	for name, test := range tests {
		root := fstest.MapFS{}
		for file, text := range test.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := sourceOf(root); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func FuzzSource(f *testing.F) {
	f.Add("Types: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main\n")
	f.Add("deb [signed-by=/k] http://m/debian sid main")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (Source, bool){parseDeb822, parseOneLine} {
			if s, ok := parse(text); ok && (s.URI == "" || s.Keyring == "") {
				t.Errorf("%+v", s)
			}
		}
	})
}
