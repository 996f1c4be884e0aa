package check

import (
	"slices"
	"strings"

	"github.com/hybrid-containers/hybrid/firmware"
)

// model is what a core of a kind can execute. Sources: Arm's technical reference
// manuals of the cores; values: Addenda to the ABI, 3.3.5.2 and 3.3.6.
type model struct {
	profile byte
	archs   []uint64 // of this profile; others of it are too new
	fp      []uint64 // Tag_FP_arch besides 0
	single  bool     // single precision alone
}

// modelOf is nil for a core that nothing is known of. The chips of the catalogue have
// the floating-point unit where it is optional.
func modelOf(mcu string) *model {
	v7m := []uint64{firmware.ArchV6M, firmware.ArchV6SM, firmware.ArchV7, firmware.ArchV7EM}
	switch strings.TrimSuffix(mcu, "f") {
	case "cortex-m0", "cortex-m0plus", "cortex-m1":
		return &model{profile: 'M', archs: []uint64{firmware.ArchV6M, firmware.ArchV6SM}}
	case "cortex-m3":
		return &model{profile: 'M', archs: v7m[:3]}
	case "cortex-m4":
		return &model{profile: 'M', archs: v7m, fp: []uint64{fpv4D16}, single: true}
	case "cortex-m7":
		return &model{profile: 'M', archs: v7m, fp: []uint64{fpv4D16, fpv5D16}}
	case "cortex-m33":
		return &model{profile: 'M', archs: append(v7m, firmware.ArchV8MBase, firmware.ArchV8MMain), fp: []uint64{fpv4D16, fpv5D16}, single: true}
	case "cortex-r5", "cortex-r7":
		return &model{profile: 'R', fp: []uint64{fpv2, fpv3D16}}
	}
	return nil
}

// Values of Tag_FP_arch, and of Tag_ABI_HardFP_use.
const (
	fpv2    = 2
	fpv3D16 = 4
	fpv4D16 = 6
	fpv5D16 = 8

	singleAlone = 1
)

// architecture: what the compiler was told.
func architecture(s subject) []firmware.Finding {
	a, m := s.attributes, modelOf(s.core.MCU)
	if a == nil || m == nil {
		return nil
	}
	if !m.executes(a) {
		return []firmware.Finding{fatal(WrongArch, "compiled for %s, which %s does not execute: compile with -mcpu=%s",
			describe(a), s.core.MCU, strings.TrimSuffix(s.core.MCU, "f"))}
	}
	return floatingPoint(s, a, m)
}

func floatingPoint(s subject, a *firmware.Attributes, m *model) []firmware.Finding {
	var found []firmware.Finding
	wants, more := a.FPName(), a.FP != 0 && !slices.Contains(m.fp, a.FP)
	if a.SIMD != 0 {
		wants, more = strings.TrimPrefix(wants+" with NEON", " with "), true
	}
	switch {
	case len(m.fp) == 0 && (a.FP != 0 || a.VFPArgs == 1):
		found = append(found, fatal(NoFPU, "compiled with -mfloat-abi=%s, %s has no floating-point unit", a.FloatABI(), s.core.MCU))
	case more && len(m.fp) > 0:
		found = append(found, warning(MoreFPU, "compiled for the floating-point unit %s, %s has %s: what only the former can do faults",
			wants, s.core.MCU, (&firmware.Attributes{FP: m.fp[len(m.fp)-1]}).FPName()))
	case m.single && a.FP != 0 && a.HardFP != singleAlone:
		found = append(found, warning(MoreFPU, "compiled for double precision, the floating-point unit of %s is for single precision: a double faults; compile with -mfpu=%s",
			s.core.MCU, map[bool]string{true: "fpv4-sp-d16", false: "fpv5-sp-d16"}[a.FP == fpv4D16]))
	}
	return found
}

// executes reports whether the architecture fits. Code for the classic
// architectures before v6-M says no profile, and runs on an R.
func (m *model) executes(a *firmware.Attributes) bool {
	if m.profile == 'M' {
		switch {
		case a.Arch == 0 && a.Profile == 0:
			return true // nothing is said
		case a.Profile != 0 && a.Profile != 'M':
			return false
		}
		return slices.Contains(m.archs, a.Arch)
	}
	return a.Profile != 'M' && a.Arch != firmware.ArchV6M && a.Arch != firmware.ArchV6SM && a.Arch < firmware.ArchV7EM
}

func describe(a *firmware.Attributes) string {
	name := "Arm" + a.ArchName()
	if a.CPU != "" && !strings.EqualFold(a.CPU, strings.TrimPrefix(a.ArchName(), "v")) {
		name += " (" + a.CPU + ")"
	}
	return name
}
