package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/go-units"
	"github.com/moby/buildkit/client"
	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// Formats of docker buildx du.
const (
	usageTable  = "table {{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}"
	usagePretty = `ID:           {{.ID}}
{{- if .Parents }}
Parents:
{{- range .Parents }}
 - {{.}}
{{- end }}
{{- end }}
Created at:   {{.CreatedAt}}
Mutable:      {{.Mutable}}
Reclaimable:  {{.Reclaimable}}
Shared:       {{.Shared}}
Size:         {{.Size}}
{{- if .Description}}
Description:  {{ .Description }}
{{- end }}
Usage count:  {{.UsageCount}}
{{- if .LastUsedAt}}
Last used:    {{ .LastUsedAt }}
{{- end }}
{{- if .Type}}
Type:         {{ .Type }}
{{- end }}
`
)

func builderDuCommand() *cobra.Command {
	var o buildkit.Options
	var filters []string
	var verbose, asJSON bool
	var format string
	cmd := &cobra.Command{
		Use:                   "du [OPTIONS]",
		Short:                 "Show what the build cache uses",
		Args:                  exactArgs(0),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := buildkit.ParseFilter(filters)
			if err != nil {
				return &builder.UsageError{Err: err}
			}
			if asJSON {
				format = formatter.JSONFormatKey
			}
			f, err := usageFormat(format, verbose)
			if err != nil {
				return &builder.UsageError{Err: err}
			}
			bk, err := openBuilder(cmd, o)
			if err != nil {
				return err
			}
			records, err := bk.DiskUsage(cmd.Context(), client.WithFilter(filter.Filter), client.WithAgeLimit(filter.Keep))
			if err != nil {
				return errors.Join(err, bk.Close())
			}
			if err := writeUsage(cmd.OutOrStdout(), f, records); err != nil {
				return errors.Join(err, bk.Close())
			}
			if (f == usageTable || f == usagePretty) && len(filters) == 0 {
				writeSummary(cmd.OutOrStdout(), records)
			}
			return bk.Close()
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&filters, "filter", nil, "only what matches: until=24h, id=…, type=…, KEY=VALUE")
	f.BoolVar(&verbose, "verbose", false, "all that is known of each record (--format pretty)")
	f.StringVar(&format, "format", "", "table, pretty, json, or a Go template")
	f.BoolVar(&asJSON, "json", false, "one JSON object a line (--format json)")
	builderFlags(f, &o)
	return cmd
}

func usageFormat(format string, verbose bool) (formatter.Format, error) {
	switch {
	case verbose && format != "":
		return "", errors.New("--verbose and --format or --json: want one of them")
	case verbose || format == formatter.PrettyFormatKey:
		return usagePretty, nil
	case format == "" || format == formatter.TableFormatKey:
		return usageTable, nil
	}
	return formatter.Format(format), nil
}

// usage is a record of the cache as docker buildx shows it.
type usage struct {
	formatter.HeaderContext
	format formatter.Format
	record *client.UsageInfo
}

func writeUsage(out io.Writer, format formatter.Format, records []*client.UsageInfo) error {
	header := usage{format: format}
	header.Header = formatter.SubHeaderContext{
		"ID": "ID", "Parents": "PARENTS", "CreatedAt": "CREATED AT", "Mutable": "MUTABLE",
		"Reclaimable": "RECLAIMABLE", "Shared": "SHARED", "Size": "SIZE", "Description": "DESCRIPTION",
		"UsageCount": "USAGE COUNT", "LastUsedAt": "LAST ACCESSED", "Type": "TYPE",
	}
	c := formatter.Context{Output: out, Format: format}
	return c.Write(&header, func(write func(formatter.SubContext) error) error {
		for _, r := range records {
			if err := write(&usage{format: format, record: r}); err != nil {
				return err
			}
		}
		return nil
	})
}

// MarshalJSON implements json.Marshaler: the methods below, by their names.
func (u *usage) MarshalJSON() ([]byte, error) { return formatter.MarshalJSON(u) }

// ID is marked if it may be changed still.
func (u *usage) ID() string { return u.marked(u.record.ID, u.record.Mutable) }

// Size is marked if others share it.
func (u *usage) Size() string {
	return u.marked(units.HumanSize(float64(u.record.Size)), u.record.Shared)
}

func (u *usage) marked(s string, mark bool) string {
	if mark && u.format.IsTable() {
		return s + "*"
	}
	return s
}

func (u *usage) Parents() []string   { return u.record.Parents }
func (u *usage) CreatedAt() string   { return u.record.CreatedAt.String() }
func (u *usage) Mutable() bool       { return u.record.Mutable }
func (u *usage) Reclaimable() bool   { return !u.record.InUse }
func (u *usage) Shared() bool        { return u.record.Shared }
func (u *usage) Description() string { return u.record.Description }
func (u *usage) UsageCount() int     { return u.record.UsageCount }
func (u *usage) Type() string        { return string(u.record.RecordType) }
func (u *usage) LastUsedAt() string {
	if u.record.LastUsedAt == nil {
		return ""
	}
	return units.HumanDuration(time.Since(*u.record.LastUsedAt)) + " ago"
}

func writeSummary(out io.Writer, records []*client.UsageInfo) {
	var total, reclaimable, shared int64
	for _, r := range records {
		total += max(r.Size, 0)
		if !r.InUse {
			reclaimable += max(r.Size, 0)
		}
		if r.Shared {
			shared += max(r.Size, 0)
		}
	}
	w := tabwriter.NewWriter(out, 1, 8, 1, '\t', 0)
	if shared > 0 {
		fmt.Fprintf(w, "Shared:\t%s\n", units.HumanSize(float64(shared)))
		fmt.Fprintf(w, "Private:\t%s\n", units.HumanSize(float64(total-shared)))
	}
	fmt.Fprintf(w, "Reclaimable:\t%s\n", units.HumanSize(float64(reclaimable)))
	fmt.Fprintf(w, "Total:\t%s\n", units.HumanSize(float64(total)))
	_ = w.Flush() // to standard output, as every print
}
