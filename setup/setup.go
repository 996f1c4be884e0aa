// Package setup tells the container engines of a machine about hybrid-runtime: it
// edits the configuration that each of them has, and takes the edit back.
package setup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Options say what is installed where.
type Options struct {
	Machine Machine
	// Engines are the names of those that are told; none is all that are found.
	Engines []string
	// Configs are the configuration files of engines, by name, where they are not in
	// their usual place.
	Configs map[string]string
	// Runtime is the path of hybrid-runtime; empty: beside this program, else in PATH.
	Runtime string
	// Containerd is containerd's version, for one that has no configuration yet and
	// cannot be asked.
	Containerd string
	// Force replaces what is configured as hybrid already.
	Force bool
	// DryRun leaves all files as they are.
	DryRun bool
}

// ErrNoEngine reports a machine without any engine.
var ErrNoEngine = errors.New("no container engine is found here: name those that will be (--docker, --containerd, --podman, --k3s)")

// tries bounds how often files are read again that somebody else changes meanwhile.
const tries = 5

// Install tells the engines about hybrid-runtime, all or, if one of their files cannot
// be edited or written, none: then the others are put back. A change that cannot be put
// back (somebody has changed the file again) comes with the error.
func Install(ctx context.Context, o Options) ([]*Change, error) {
	chosen, err := o.chosen()
	if err != nil {
		return nil, err
	}
	runtime, err := o.findRuntime()
	if err != nil {
		return nil, err
	}
	return o.apply(func() ([]*Change, error) {
		var changes []*Change
		for _, e := range chosen {
			settings, err := e.settings(ctx, &o, runtime)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.Name, err)
			}
			for _, s := range settings {
				c, err := s.install(o.Machine, o.Force)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", e.Name, err)
				}
				c.Engine = e
				changes = append(changes, c)
			}
		}
		return changes, nil
	})
}

// Uninstall takes back what Install did, and leaves what else was changed since. Errors
// are as those of Install.
func Uninstall(_ context.Context, o Options) ([]*Change, error) {
	chosen, err := o.chosen()
	if err != nil {
		return nil, err
	}
	changes, err := o.apply(func() ([]*Change, error) {
		var changes []*Change
		for _, e := range chosen {
			settings, err := e.installed(&o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.Name, err)
			}
			for _, s := range settings {
				c, err := s.uninstall(o.Machine)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", e.Name, err)
				}
				c.Engine = e
				changes = append(changes, c)
			}
		}
		return changes, nil
	})
	if err == nil && !o.DryRun {
		err = leaveFolders(changes)
	}
	return changes, err
}

// apply makes the changes that plan finds, and plans again when a file is not any more
// what was planned for.
func (o *Options) apply(plan func() ([]*Change, error)) ([]*Change, error) {
	for try := 1; ; try++ {
		changes, err := plan()
		if err != nil || o.DryRun {
			return changes, err
		}
		for _, c := range changes { // all or none
			if err := c.writable(); err != nil {
				return nil, err
			}
		}
		made := changes
		for i, c := range changes {
			if err = c.apply(); err != nil {
				_ = removeFolders(filepath.Dir(c.path)) // that it may have made; err is what counts
				var undone error
				if made, undone = undo(changes[:i]); undone != nil {
					return made, errors.Join(err, undone)
				}
				break
			}
		}
		if !errors.Is(err, errChanged) || try == tries {
			return made, err
		}
	}
}

// undo puts files back, the last one first, and returns the changes that stay.
func undo(changes []*Change) ([]*Change, error) {
	var stay []*Change
	var errs []error
	for _, c := range slices.Backward(changes) {
		err := c.inverse().apply()
		if err == nil {
			err = removeFolders(filepath.Dir(c.path))
		}
		if err != nil {
			stay = append(stay, c)
			errs = append(errs, fmt.Errorf("not put back: %w", err))
		}
	}
	slices.Reverse(stay)
	return stay, errors.Join(errs...)
}

// chosen are the engines that are named, or whose files are, else those that are found.
func (o *Options) chosen() ([]*Engine, error) {
	named := len(o.Engines) > 0 || len(o.Configs) > 0
	var chosen []*Engine
	for _, e := range Engines() {
		if slices.Contains(o.Engines, e.Name) || o.Configs[e.Name] != "" || !named && e.Found(o.Machine) {
			chosen = append(chosen, e)
		}
	}
	if len(chosen) == 0 {
		return nil, ErrNoEngine
	}
	return chosen, nil
}
