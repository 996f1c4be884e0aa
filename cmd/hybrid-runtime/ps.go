package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

func (a *app) ps() *verb {
	format := "table"
	return &verb{
		name:  "ps",
		short: "List the processes of a container: its monitor",
		more:  true,
		usage: "[OPTIONS] <CONTAINER_ID> [ps options]",
		least: 1, most: -1, plain: true,
		options: func(o *options) {
			o.string(&format, "format", "f", "FORMAT", "Output format: table or json [default: table]")
		},
		run: func(args []string) error {
			if format != "table" && format != "json" {
				return usagef("--format %q: want table or json", format)
			}
			r, err := a.runtime()
			if err != nil {
				return err
			}
			s, err := r.State(args[0])
			if err != nil {
				return err
			}
			pids := []int{}
			if s.Pid != 0 {
				pids = append(pids, s.Pid)
			}
			if format == "json" {
				return json.NewEncoder(a.out).Encode(pids)
			}
			psArgs := args[1:]
			if len(psArgs) == 0 {
				psArgs = []string{"-ef"}
			}
			out, err := exec.Command("ps", psArgs...).Output()
			if err != nil {
				return fmt.Errorf("ps %s: %w", strings.Join(psArgs, " "), err)
			}
			return a.writeProcesses(string(out), pids)
		},
	}
}

// writeProcesses writes the header of what ps printed, and the lines of pids.
func (a *app) writeProcesses(out string, pids []int) error {
	header, lines, _ := strings.Cut(out, "\n")
	column := slices.Index(strings.Fields(header), "PID")
	if column < 0 {
		return fmt.Errorf("ps prints no column PID: %q", header)
	}
	b := strings.Builder{}
	b.WriteString(header + "\n")
	for line := range strings.Lines(lines) {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			b.WriteString(line)
		}
	}
	_, err := io.WriteString(a.out, b.String())
	return err
}
