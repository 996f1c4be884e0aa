package bundle

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/image"
)

// Host is where firmware is to run.
type Host interface {
	// Fits returns how far firmware for a target is from being made for this very
	// board, 0 being nearest, or why it cannot run here.
	Fits(image.Target) (distance int, err error)
	// String says what is here: the board, and its processors.
	String() string
}

// PinError reports firmware that fits, but not the processor that is asked for.
type PinError struct {
	Want string
	Fits []string // processors
}

func (e *PinError) Error() string {
	return fmt.Sprintf("processor %s wanted, what fits here is %s", e.Want, strings.Join(e.Fits, ", "))
}

// OtherTargetError reports an image with firmware for several targets, none of which
// is here.
type OtherTargetError struct {
	Targets []string // what it is for
	MCU     string   // the kind of core that is asked for; empty is any
	Here    string   // what is here
}

func (e *OtherTargetError) Error() string {
	wanted := ""
	if e.MCU != "" {
		wanted = fmt.Sprintf("core %s wanted, ", e.MCU)
	}
	return fmt.Sprintf("is for %s; %sthis is %s", and(e.Targets), wanted, e.Here)
}

// and is a list as people say it.
func and(list []string) string {
	const enough = 10
	if n := len(list); n > enough {
		list = append(slices.Clone(list[:enough]), fmt.Sprintf("%d more", n-enough))
	}
	last := len(list) - 1
	if last < 1 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:last], ", ") + " and " + list[last]
}

// choice is made among the programs of an image or of an index.
type choice struct {
	here Host
	mcu  string // the kind of core that it must be for; empty is any

	image    *image.Image
	program  image.Program
	distance int
	found    bool

	targets []string // of those that do not fit
	errs    []error
}

func (c *choice) consider(i *image.Image, p image.Program) {
	if c.mcu != "" && !board.SameMCU(p.Target.MCU, c.mcu) {
		c.refuse(p.Target, fmt.Errorf("core %s wanted, this program is for %s", c.mcu, p.Target.MCU))
		return
	}
	distance, err := c.here.Fits(p.Target)
	switch {
	case err != nil:
		c.refuse(p.Target, err)
	case !c.found || distance < c.distance:
		c.image, c.program, c.distance, c.found = i, p, distance, true
	}
}

func (c *choice) refuse(t image.Target, err error) {
	if s := t.String(); t != (image.Target{}) && !slices.Contains(c.targets, s) {
		c.targets = append(c.targets, s)
	}
	c.errs = append(c.errs, err)
}

// made is the choice, or why there is none.
func (c *choice) made() (*image.Image, image.Program, error) {
	if c.found {
		return c.image, c.program, nil
	}
	for _, err := range c.errs {
		var pin *PinError
		if errors.As(err, &pin) || len(c.errs) == 1 || len(c.targets) == 0 {
			return nil, image.Program{}, err
		}
	}
	return nil, image.Program{}, &OtherTargetError{c.targets, c.mcu, c.here.String()}
}
