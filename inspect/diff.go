package inspect

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Change is one thing that differs between two reports.
type Change struct {
	Subject string `json:"subject,omitempty"` // the firmware, where there are several; else empty
	What    string `json:"what"`
	From    string `json:"from,omitempty"` // empty: was not there
	To      string `json:"to,omitempty"`   // empty: is not there
	// Bytes is by how much a size grew; 0 of what is no size.
	Bytes int64 `json:"bytes,omitempty"`
}

// fact is one line of a report, flattened.
type fact struct {
	subject, what, value string
	size                 uint64
	isSize               bool
}

// Changes tells what is different in b, in the order of a report.
func Changes(a, b *Report) []Change {
	images := max(len(a.Images), len(b.Images))
	programs := max(a.programs(), b.programs())
	before, after := a.facts(images > 1, programs > 1), b.facts(images > 1, programs > 1)
	changes := []Change{}
	index := map[[2]string]int{}
	for i, f := range after {
		index[[2]string{f.subject, f.what}] = i
	}
	seen := map[[2]string]bool{}
	next := 0 // facts of b before this one are told
	appear := func(until int) {
		for ; next < until; next++ {
			f := after[next]
			if key := [2]string{f.subject, f.what}; !seen[key] && !has(before, key) {
				changes = append(changes, Change{Subject: f.subject, What: f.what, To: f.text(), Bytes: int64(f.size)})
			}
		}
	}
	for _, f := range before {
		key := [2]string{f.subject, f.what}
		i, still := index[key]
		if !still {
			changes = append(changes, Change{Subject: f.subject, What: f.what, From: f.text(), Bytes: -int64(f.size)})
			continue
		}
		appear(i)
		seen[key] = true
		if g := after[i]; f.value != g.value || f.size != g.size {
			changes = append(changes, Change{f.subject, f.what, f.text(), g.text(), int64(g.size) - int64(f.size)})
		}
	}
	appear(len(after))
	return changes
}

func has(facts []fact, key [2]string) bool {
	for _, f := range facts {
		if f.subject == key[0] && f.what == key[1] {
			return true
		}
	}
	return false
}

func (f fact) text() string {
	if f.isSize {
		return strconv.FormatUint(f.size, 10) + " B"
	}
	return f.value
}

func (r *Report) programs() int {
	n := 0
	for _, i := range r.Images {
		n += len(i.Firmware)
	}
	return n
}

// facts flattens a report. Where there are several images or several firmware files
// each is known by its core, and the second of one core by its number too.
func (r *Report) facts(images, programs bool) []fact {
	if r.Firmware != nil {
		return r.Firmware.facts("")
	}
	var all []fact
	count := map[string]int{}
	subject := func(several bool, kind, name string) string {
		if !several {
			return ""
		}
		if count[kind+name]++; count[kind+name] > 1 {
			return fmt.Sprintf("%s (%d)", name, count[kind+name])
		}
		return name
	}
	for _, i := range r.Images {
		name := i.Target.name()
		if len(i.Targets) > 0 {
			name = strings.Join(i.Targets, ", ")
		}
		all = append(all, i.facts(subject(images, "image ", name))...)
		for m := range i.Firmware {
			fw := &i.Firmware[m]
			name := fw.Path
			if fw.Core != nil {
				name = fw.Core.Board + "/" + fw.Core.MCU
			}
			all = append(all, fw.facts(subject(programs, "firmware ", name))...)
		}
	}
	return all
}

func (img *Image) facts(subject string) []fact {
	var all []fact
	say := func(what, value string) { all = append(all, fact{subject: subject, what: what, value: value}) }
	size := func(what string, n int64) {
		all = append(all, fact{subject: subject, what: what, size: uint64(n), isSize: true})
	}
	say("digest", img.Digest)
	say("config digest", img.ConfigDigest)
	say("name", img.Name)
	say("platform", img.Platform)
	say("target", img.Target.name())
	say("targets", strings.Join(img.Targets, ", "))
	say("target said by", strings.Join(img.Target.SaidBy, ", "))
	say("entrypoint", img.Entrypoint)
	say("problem", img.Problem)
	size("size to download", img.Size)
	for n, l := range img.Layers {
		say(fmt.Sprintf("layer %d", n+1), l.Digest)
	}
	for _, f := range img.Files {
		size("file "+f.Path, f.Size)
	}
	return append(all, findingFacts(subject, img.Findings)...)
}

func (t Target) name() string {
	t.SaidBy = nil
	return t.String()
}

func (fw *Firmware) facts(subject string) []fact {
	var all []fact
	say := func(what, value string) { all = append(all, fact{subject: subject, what: what, value: value}) }
	size := func(what string, n uint64) {
		all = append(all, fact{subject: subject, what: what, size: n, isSize: true})
	}
	say("firmware SHA-256", fw.SHA256)
	say("machine", fw.machine())
	say("entry", fw.Entry.String())
	if fw.Boot != nil {
		say("stack", fw.Boot.Stack.String())
		say("reset", fw.Boot.Reset.String())
	}
	size("ELF file", fw.Sizes.File)
	if fw.Sizes.Debug > 0 {
		size("debug information", fw.Sizes.Debug)
	}
	size("code", fw.Sizes.Code)
	size("rodata", fw.Sizes.ROData)
	size("data", fw.Sizes.Data)
	size("bss", fw.Sizes.BSS)
	for _, s := range fw.Segments {
		size(fmt.Sprintf("segment %s %s", s.Address, s.Flags), s.MemorySize)
	}
	for _, r := range fw.Memory {
		if r.AliasOf == "" && r.Used > 0 {
			size(r.Name+" used", r.Used)
		}
	}
	if fw.Table != nil {
		say("resource table", fw.Table.Address.String())
		count := map[string]int{}
		for _, e := range fw.Table.Entries {
			what := e.title()
			if count[what]++; count[what] > 1 {
				what = fmt.Sprintf("%s (%d)", what, count[what])
			}
			say(what, e.detail())
			for n, v := range e.Vrings {
				say(fmt.Sprintf("%s vring %d", what, n), v.String())
			}
		}
	}
	return append(all, findingFacts(subject, fw.Findings)...)
}

// foundOnce is the value of a finding: its text is what it is known by.
const foundOnce = "found"

// findingFacts: two findings with one code are told apart by their messages.
func findingFacts(subject string, found []Finding) []fact {
	var all []fact
	for _, f := range found {
		all = append(all, fact{subject: subject, what: f.Severity + ": " + string(f.Code) + ": " + f.Message, value: foundOnce})
	}
	return all
}

// WriteChanges writes changes for people, as diff does: - is the first, + the second.
func WriteChanges(w io.Writer, from, to string, changes []Change) error {
	fmt.Fprintf(w, "--- %s\n+++ %s\n", from, to)
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "no difference")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	subject := ""
	for _, c := range changes {
		if c.Subject != subject {
			subject = c.Subject
			fmt.Fprintf(t, "%s:\n", clean(subject))
		}
		fmt.Fprintln(t, c)
	}
	return t.Flush()
}

// String is the change as a line of a table.
func (c Change) String() string {
	what, from, to := clean(c.What), clean(short(c.From)), clean(short(c.To))
	switch {
	case c.From == "" && c.To == foundOnce:
		return "+ " + what
	case c.To == "" && c.From == foundOnce:
		return "- " + what
	case c.From == "":
		return fmt.Sprintf("+ %s\t%s", what, to)
	case c.To == "":
		return fmt.Sprintf("- %s\t%s", what, from)
	case c.Bytes != 0:
		return fmt.Sprintf("  %s\t%s -> %s (%+d B)", what, from, to, c.Bytes)
	}
	return fmt.Sprintf("  %s\t%s -> %s", what, from, to)
}

// short abbreviates digests, as Docker does.
func short(s string) string {
	const digest, kept = 64, 12
	hex := strings.TrimPrefix(s, "sha256:")
	if len(hex) == digest && strings.Trim(hex, "0123456789abcdef") == "" {
		return s[:len(s)-digest+kept]
	}
	return s
}
