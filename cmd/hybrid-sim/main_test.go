package main

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/hybrid-containers/hybrid/sim/vm"
)

func TestParseShare(t *testing.T) {
	for in, want := range map[string]vm.Share{
		"/a":          {Host: "/a"},
		"a:/b":        {Host: "a", Guest: "/b"},
		"a:/b:ro":     {Host: "a", Guest: "/b", ReadOnly: true},
		"a::ro":       {Host: "a", ReadOnly: true},
		"a:/b:const":  {Host: "a", Guest: "/b", ReadOnly: true, Constant: true},
		"":            {},
		":/b":         {},
		"a:/b:rw":     {},
		"a:/b:ro:now": {},
	} {
		got, err := parseShare(in)
		if (err != nil) != (want == vm.Share{}) || err == nil && got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"no-such-command"},
		{"--no-such-flag"},
		{"fetch", "x"},
		{"vm", "--no-such-flag"},
		{"vm", "--share", "a:b:c", "--", "true"},
		{"vm", "--env", "X", "--", "true"},
		{"vm", "--workdir", "x", "--", "true"},
		{"vm", "--timeout", "soon", "--", "true"},
	} {
		cmd := root()
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); exitCode(err) != exitUsage {
			t.Errorf("%q: %v, exit code %d", args, err, exitCode(err))
		}
	}
}

func TestExitOf(t *testing.T) {
	late, cancel := context.WithTimeoutCause(t.Context(), 0, errors.New("late"))
	defer cancel()
	<-late.Done()
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for _, test := range []struct {
		ctx  context.Context
		err  error
		code int
		says string
	}{
		{t.Context(), nil, 0, ""},
		{t.Context(), &vm.ExitError{Code: 3}, 3, ""},
		{t.Context(), &vm.ExitError{Code: -1, Signal: syscall.SIGKILL}, 137, ""},
		{t.Context(), &vm.StartError{Code: 127, Reason: "x: command not found"}, 127, "x: command not found"},
		{t.Context(), vm.ErrClosed, exitBoard, vm.ErrClosed.Error()},
		{interrupted, context.Canceled, 130, "context canceled"},
		{late, context.Cause(late), 124, "late"},
	} {
		err := exitOf(test.ctx, test.err)
		if exitCode(err) != test.code || message(err) != test.says {
			t.Errorf("%v: code %d, %q; want %d, %q", test.err, exitCode(err), message(err), test.code, test.says)
		}
	}
}
