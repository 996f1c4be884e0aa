package check

import (
	"strings"

	"github.com/hybrid-containers/hybrid/firmware"
)

// muchDebug is from how much on debug information is worth a word.
const muchDebug = 64 << 10

// contents: what is in the file beside the program.
func contents(s subject) []firmware.Finding {
	var debug, loaded uint64
	for _, section := range s.sections {
		if IsDebug(section) {
			debug += section.Size
		}
	}
	for _, segment := range s.file.Segments {
		loaded += segment.FileSize
	}
	if debug < muchDebug || debug < loaded {
		return nil
	}
	return []firmware.Finding{warning(DebugInfo, "%d bytes of debug information for %d that are loaded: every board downloads them; keep the file for the debugger, and put one into the image that went through objcopy --strip-debug",
		debug, loaded)}
}

// IsDebug reports whether a section is for a debugger alone.
func IsDebug(s firmware.Section) bool {
	return !s.Loaded() && (strings.HasPrefix(s.Name, ".debug_") || strings.HasPrefix(s.Name, ".zdebug_") || s.Name == ".stab" || s.Name == ".stabstr")
}
