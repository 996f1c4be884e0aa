package main

import (
	"errors"
	"testing"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"git stderr:\nfatal: no\n: exit status 128": "git stderr: fatal: no : exit status 128",
		"a\x1b[2Jb\x00": "a\ufffd[2Jb\ufffd",
		"two  spaces":   "two  spaces",
		"":              "",
	} {
		if got := line(errors.New(in)); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
