// Package image knows what makes an OCI image a firmware image: the annotations,
// labels and environment variables that say its target, and where its one ELF
// file is. It reads images from OCI layouts, as folders and as archives.
package image

import (
	"fmt"
	"strings"
)

// Keys of the target in manifest annotations and, the same, in config labels.
const (
	// KeyBoard names the board: an alias of the catalogue or a device-tree string.
	KeyBoard = "board"
	// KeyMCU names the kind of core: cortex-m4, cortex-r5f, …
	KeyMCU = "mcu"
	// KeyProcessor chooses among the processors that fit: remoteprocN, the processor's
	// name attribute, or its device-tree node with or without address (r5f@78000000).
	KeyProcessor = "remoteproc.name"
)

// Names of the target in the environment of the image config. Environment is what
// every engine hands to its runtime; annotations are not.
const (
	EnvBoard     = "HYBRID_BOARD"
	EnvMCU       = "HYBRID_MCU"
	EnvProcessor = "HYBRID_PROCESSOR"
)

// Target is what a firmware image is made for. Empty fields say nothing.
type Target struct {
	Board     string
	MCU       string
	Processor string
}

// String is BOARD/MCU, for messages.
func (t Target) String() string {
	if t == (Target{}) {
		return "no target"
	}
	return strings.TrimSuffix(t.Board+"/"+t.MCU, "/")
}

// TargetOf reads a target out of annotations or labels.
func TargetOf(m map[string]string) Target {
	return Target{Board: clip(m[KeyBoard]), MCU: clip(m[KeyMCU]), Processor: clip(m[KeyProcessor])}
}

// TargetOfEnv reads a target out of an environment, as KEY=VALUE strings. The last
// of several settings counts, as in execve(2)'s users.
func TargetOfEnv(env []string) Target {
	var t Target
	for _, e := range env {
		switch k, v, _ := strings.Cut(e, "="); k {
		case EnvBoard:
			t.Board = clip(v)
		case EnvMCU:
			t.MCU = clip(v)
		case EnvProcessor:
			t.Processor = clip(v)
		}
	}
	return t
}

// clip shortens what only a hostile image has, and what goes into messages.
func clip(s string) string {
	const enough = 200
	if len(s) <= enough {
		return s
	}
	return strings.ToValidUTF8(s[:enough], "") + "…"
}

// Or returns t with what it leaves open taken from other.
func (t Target) Or(other Target) Target {
	if t.Board == "" {
		t.Board = other.Board
	}
	if t.MCU == "" {
		t.MCU = other.MCU
	}
	if t.Processor == "" {
		t.Processor = other.Processor
	}
	return t
}

// Claim is a target with the place that says so, for messages: "--board/--mcu",
// "the image's labels".
type Claim struct {
	Where  string
	Target Target
}

// ConflictError reports two places that say different things.
type ConflictError struct {
	Key            string // KeyBoard, KeyMCU or KeyProcessor
	A, B           string // what they say
	WhereA, WhereB string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("contradicting targets: %s says %s=%s, %s says %s=%s", e.WhereA, e.Key, e.A, e.WhereB, e.Key, e.B)
}

// Resolve merges claims. Two that differ are a *ConflictError; same decides
// whether two values of a key mean the same (nil: only if they are equal).
func Resolve(same func(key, a, b string) bool, claims ...Claim) (Target, error) {
	merge := func(key string, field func(*Target) *string) (value string, err error) {
		var where string
		for _, c := range claims {
			v := *field(&c.Target)
			switch {
			case v == "":
			case value == "":
				value, where = v, c.Where
			case v != value && (same == nil || !same(key, value, v)):
				return "", &ConflictError{Key: key, A: value, B: v, WhereA: where, WhereB: c.Where}
			}
		}
		return value, nil
	}
	var t Target
	var err error
	if t.Board, err = merge(KeyBoard, func(t *Target) *string { return &t.Board }); err != nil {
		return Target{}, err
	}
	if t.MCU, err = merge(KeyMCU, func(t *Target) *string { return &t.MCU }); err != nil {
		return Target{}, err
	}
	if t.Processor, err = merge(KeyProcessor, func(t *Target) *string { return &t.Processor }); err != nil {
		return Target{}, err
	}
	return t, nil
}
