// Package check knows what firmware authors trip over, beyond what a board refuses.
// It is for the build host: the board's own checks are File.Check.
//
// An error is what certainly cannot run. Where a rule has an exception that a file
// does not show, the finding is a warning, or there is none: a false alarm costs more
// than a missed one. docs/checks.md says of each code what it means and what to do.
package check

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
)

// The findings of this package; those of a whole image too, whose text is the
// builder's.
const (
	Overlap        firmware.Code = "HB006"
	NothingAtBoot  firmware.Code = "HB007"
	NotThumb       firmware.Code = "HB008"
	ResetNotLoaded firmware.Code = "HB009"
	StackOutside   firmware.Code = "HB010"
	EntryNotLoaded firmware.Code = "HB011"
	WrongArch      firmware.Code = "HB012"
	NoFPU          firmware.Code = "HB013"
	MoreFPU        firmware.Code = "HB014"
	InDDR          firmware.Code = "HB015"
	LastByte       firmware.Code = "HB016"
	TableNotLoaded firmware.Code = "HB017"
	EmptyTable     firmware.Code = "HB018"
	NoTrace        firmware.Code = "HB019"
	BufferOutside  firmware.Code = "HB020"
	BadEntry       firmware.Code = "HB021"
	BadVring       firmware.Code = "HB022"
	DebugInfo      firmware.Code = "HB023"
	OtherFiles     firmware.Code = "HB024"
	ManyLayers     firmware.Code = "HB025"
)

// Codes are all codes, in order.
func Codes() []firmware.Code {
	return []firmware.Code{
		firmware.NotLoadable, firmware.WrongMachine, firmware.NothingToLoad, firmware.OutsideOfMemory, firmware.NoResourceTable,
		Overlap, NothingAtBoot, NotThumb, ResetNotLoaded, StackOutside, EntryNotLoaded, WrongArch, NoFPU, MoreFPU,
		InDDR, LastByte, TableNotLoaded, EmptyTable, NoTrace, BufferOutside, BadEntry, BadVring, DebugInfo, OtherFiles, ManyLayers,
	}
}

// subject is what a rule looks at.
type subject struct {
	file       *firmware.File
	core       board.Core
	sections   []firmware.Section
	attributes *firmware.Attributes // nil: none, or none that can be read
	vectors    *firmware.Vectors    // nil: not known where they must be
}

// Parse is firmware.Parse; what the kernel would not load is a finding instead of an
// error.
func Parse(r io.ReaderAt, size int64) (*firmware.File, []firmware.Finding, error) {
	f, err := firmware.Parse(r, size)
	var format *firmware.FormatError
	if errors.As(err, &format) {
		return nil, []firmware.Finding{{Code: firmware.NotLoadable, Fatal: true, Message: format.Reason}}, nil
	}
	return f, nil, err
}

// Firmware checks f, the size bytes of r, for core: errors first, then by code.
func Firmware(f *firmware.File, r io.ReaderAt, size int64, core board.Core) ([]firmware.Finding, error) {
	findings := f.Check(core)
	if slices.ContainsFunc(findings, func(f firmware.Finding) bool { return f.Code == firmware.WrongMachine }) {
		return findings, nil // every other rule is about another machine
	}
	s := subject{file: f, core: core}
	var err error
	if s.sections, err = firmware.Sections(r, size); err != nil {
		return nil, err
	}
	var format *firmware.FormatError
	if s.attributes, err = firmware.ReadAttributes(f, r, s.sections); err != nil && !errors.As(err, &format) {
		return nil, err
	}
	if s.vectors, err = firmware.ReadVectors(f, r, core); err != nil {
		return nil, err
	}
	for _, rule := range []func(subject) []firmware.Finding{segments, boot, architecture, table, contents} {
		findings = append(findings, rule(s)...)
	}
	slices.SortStableFunc(findings, func(a, b firmware.Finding) int {
		if a.Fatal != b.Fatal {
			if a.Fatal {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Code, b.Code)
	})
	return findings, nil
}

func fatal(code firmware.Code, format string, args ...any) firmware.Finding {
	return firmware.Finding{Code: code, Fatal: true, Message: fmt.Sprintf(format, args...)}
}

func warning(code firmware.Code, format string, args ...any) firmware.Finding {
	return firmware.Finding{Code: code, Message: fmt.Sprintf(format, args...)}
}
