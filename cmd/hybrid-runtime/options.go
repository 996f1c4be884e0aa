package main

import (
	"flag"
	"io"
	"strings"
)

// options are the options of a verb, with what help says of them.
type options struct {
	set  *flag.FlagSet
	rows []option
}

// option is what help says of an option.
type option struct {
	name, short, value, text string
}

func newOptions() *options {
	o := &options{set: flag.NewFlagSet("", flag.ContinueOnError)}
	o.set.SetOutput(io.Discard) // errors are ours to print, once
	return o
}

func (o *options) add(name, short, value, text string) {
	o.rows = append(o.rows, option{name, short, value, text})
}

// string declares an option with a value; what is in p is its default.
func (o *options) string(p *string, name, short, value, text string) {
	o.add(name, short, value, text)
	for _, n := range []string{name, short} {
		if n != "" {
			o.set.StringVar(p, n, *p, "")
		}
	}
}

// bool declares an option without a value.
func (o *options) bool(p *bool, name, short, text string) {
	o.add(name, short, "", text)
	for _, n := range []string{name, short} {
		if n != "" {
			o.set.BoolVar(p, n, *p, "")
		}
	}
}

// int declares an option with a number.
func (o *options) int(p *int, name, short, value, text string) {
	o.add(name, short, value, text)
	for _, n := range []string{name, short} {
		if n != "" {
			o.set.IntVar(p, n, *p, "")
		}
	}
}

// alias declares another name of an option, which help does not show.
func (o *options) alias(name, other string) { o.set.Var(o.set.Lookup(name).Value, other, "") }

// accept declares options that engines give and that change nothing here; help does
// not show them.
func (o *options) accept(names ...string) {
	for _, n := range names {
		if n != "" {
			o.set.Bool(n, false, "")
		}
	}
}

// acceptValue declares options with a value that engines give and that change nothing
// here.
func (o *options) acceptValue(names ...string) {
	for _, n := range names {
		o.set.String(n, "", "")
	}
}

// given reports whether an option was on the command line, by any of its names.
func (o *options) given(names ...string) bool {
	found := false
	o.set.Visit(func(f *flag.Flag) {
		for _, n := range names {
			found = found || f.Name == n
		}
	})
	return found
}

// takesNext reports whether an argument is an option whose value is the next one, as
// that of an option of other runtimes is taken to be.
func (o *options) takesNext(arg string) bool {
	if !strings.HasPrefix(arg, "-") || strings.Contains(arg, "=") {
		return false
	}
	f := o.set.Lookup(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"))
	if f == nil {
		return true
	}
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return !ok || !b.IsBoolFlag()
}

// parse parses up to the first argument, and returns what is left.
func (o *options) parse(args []string) ([]string, error) {
	if err := o.set.Parse(args); err != nil {
		if err == flag.ErrHelp { //nolint:errorlint // package flag returns it as it is
			return nil, err
		}
		return nil, &usageError{err}
	}
	return o.set.Args(), nil
}

// parseAll parses options before, between and after arguments, up to a --, and
// returns the arguments.
func (o *options) parseAll(args []string) (arguments []string, err error) {
	for {
		rest, err := o.parse(args)
		if err != nil {
			return nil, err
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return append(arguments, rest...), nil
		}
		if len(rest) == 0 {
			return arguments, nil
		}
		arguments, args = append(arguments, rest[0]), rest[1:]
	}
}
