// Package doctor looks for what a board lacks to run firmware in containers: in its
// kernel, its processors, its engines and our own programs. It changes nothing.
package doctor

import (
	"context"

	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
	"github.com/hybrid-containers/hybrid/setup"
)

// Status is how good something is.
type Status string

// What is found: an error keeps firmware from running, a warning something else.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Error   Status = "error"
)

// Finding is one thing that was looked at.
type Finding struct {
	Check   string `json:"check"`             // what kind of thing
	Subject string `json:"subject,omitempty"` // which, where there are several
	Status  Status `json:"status"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// Report is all that was looked at.
type Report struct {
	Version  string    `json:"version"` // of hybrid-setup
	Status   Status    `json:"status"`  // the worst
	Findings []Finding `json:"findings"`
}

// Doctor is what is looked at.
type Doctor struct {
	// Host is the board.
	Host remoteproc.Host
	// Setup says where engines and our programs are.
	Setup setup.Options
	// Version is ours.
	Version string
	// Delegate is the runtime for Linux containers that is asked for; empty: runc or crun.
	Delegate string
}

// examination is one in progress.
type examination struct {
	*Doctor
	Report
}

// Examine looks at everything.
func (d *Doctor) Examine(ctx context.Context) *Report {
	x := &examination{d, Report{Version: d.Version, Status: OK}}
	processors, identity := x.board()
	x.kernel(processors, identity)
	x.interfaces()
	x.processors(processors, identity)
	x.programs(ctx)
	x.engines(ctx)
	return &x.Report
}

func (x *examination) add(f Finding) {
	x.Findings = append(x.Findings, f)
	if f.Status == Error || x.Status == OK {
		x.Status = f.Status
	}
}

func (x *examination) ok(check, subject, message string) {
	x.add(Finding{check, subject, OK, message, ""})
}

func (x *examination) warning(check, subject, message, remedy string) {
	x.add(Finding{check, subject, Warning, message, remedy})
}

func (x *examination) error(check, subject, message, remedy string) {
	x.add(Finding{check, subject, Error, message, remedy})
}
