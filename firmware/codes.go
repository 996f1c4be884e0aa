package firmware

// Code names a finding for good: people silence it, search for it, and find it in
// docs/checks.md. A code is never given to something else.
type Code string

// What Check finds. Package firmware/check has the others.
const (
	NotLoadable     Code = "HB001"
	WrongMachine    Code = "HB002"
	NothingToLoad   Code = "HB003"
	OutsideOfMemory Code = "HB004"
	NoResourceTable Code = "HB005"
)

// Finding is something about a firmware that its author should know.
type Finding struct {
	Code Code
	// Fatal findings mean that the core cannot run the firmware; others that it
	// may not do what is expected.
	Fatal   bool
	Message string
}

func (f Finding) String() string { return string(f.Code) + ": " + f.Message }
