package debian

import (
	"bufio"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Source is where Debian packages come from.
type Source struct {
	URI     string // of the archive, without a suite
	Keyring string // absolute path of the keys that sign it
}

// Default is used where the machine's own apt says nothing about Debian.
var Default = Source{URI: "http://deb.debian.org/debian", Keyring: "/usr/share/keyrings/debian-archive-keyring.gpg"}

// suites are the names by which an archive of Debian's main distribution is
// recognised; other vendors' suites have other names.
var suites = []string{
	"oldoldstable", "oldstable", "stable", "testing", "unstable", "sid",
	"buster", "bullseye", "bookworm", "trixie", "forky", "duke",
}

// sourceOf finds the mirror that the machine uses, in root, its /etc/apt: in files
// of either form, sources.list(5). The result is Default where there is none.
func sourceOf(root fs.FS) Source {
	names, _ := fs.Glob(root, "sources.list.d/*.sources")
	for _, name := range names {
		if b, err := fs.ReadFile(root, name); err == nil {
			if s, ok := parseDeb822(string(b)); ok {
				return s
			}
		}
	}
	names, _ = fs.Glob(root, "sources.list.d/*.list")
	for _, name := range append([]string{"sources.list"}, names...) {
		if b, err := fs.ReadFile(root, name); err == nil {
			if s, ok := parseOneLine(string(b)); ok {
				return s
			}
		}
	}
	return Default
}

// parseDeb822 reads the .sources form: paragraphs of fields.
func parseDeb822(text string) (Source, bool) {
	for paragraph := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		fields := map[string]string{}
		last := ""
		lines := bufio.NewScanner(strings.NewReader(paragraph))
		for lines.Scan() {
			line := lines.Text()
			if strings.HasPrefix(line, "#") {
				continue
			}
			if line != strings.TrimLeft(line, " \t") { // a field goes on
				fields[last] += " " + strings.TrimSpace(line)
				continue
			}
			key, value, ok := strings.Cut(line, ":")
			if !ok {
				continue
			}
			last = strings.ToLower(key)
			fields[last] = strings.TrimSpace(value)
		}
		if strings.EqualFold(fields["enabled"], "no") || !slices.Contains(strings.Fields(fields["types"]), "deb") {
			continue
		}
		s, ok := newSource(strings.Fields(fields["uris"]), strings.Fields(fields["suites"]), strings.Fields(fields["components"]), fields["signed-by"])
		if ok {
			return s, true
		}
	}
	return Source{}, false
}

// parseOneLine reads the form of sources.list: deb [options] uri suite components.
func parseOneLine(text string) (Source, bool) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == strings.TrimLeft(rest, " \t") { // deb-src
			continue
		}
		rest = strings.TrimSpace(rest)
		keyring := ""
		if options, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(rest, "[") {
			rest = after
			for option := range strings.FieldsSeq(options[1:]) {
				if value, ok := strings.CutPrefix(option, "signed-by="); ok {
					keyring = value
				}
			}
		}
		fields := strings.Fields(rest)
		if len(fields) < 3 {
			continue
		}
		if s, ok := newSource(fields[:1], fields[1:2], fields[2:], keyring); ok {
			return s, true
		}
	}
	return Source{}, false
}

// newSource tells whether an entry is a mirror of Debian, and makes a Source of it.
func newSource(uris, entrySuites, components []string, keyring string) (Source, bool) {
	debian := slices.ContainsFunc(entrySuites, func(s string) bool { return slices.Contains(suites, s) })
	if len(uris) == 0 || !debian || !slices.Contains(components, "main") {
		return Source{}, false
	}
	s := Source{URI: strings.TrimRight(uris[0], "/"), Keyring: Default.Keyring}
	// what goes into a configuration of ours must be what it seems; a key that is
	// written into the entry itself is Debian's as well
	if strings.ContainsAny(s.URI, "\"[]; \t") || strings.HasPrefix(s.URI, "cdrom:") {
		return Source{}, false
	}
	if path.IsAbs(keyring) && !strings.ContainsAny(keyring, "\"[];, \t") {
		s.Keyring = keyring
	}
	return s, true
}
