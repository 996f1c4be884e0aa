package builder

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// checkFiles says before the build what would keep writeFiles from its work.
func (r *Request) checkFiles() error {
	for flag, name := range map[string]string{"--metadata-file: ": r.MetadataFile, "--iidfile: ": r.IIDFile} {
		if name == "" {
			continue
		}
		if _, err := placeOf(flag, name); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles writes --metadata-file and --iidfile.
func (r *Request) writeFiles(result *Result) error {
	if r.MetadataFile != "" {
		text, err := json.MarshalIndent(metadata(result.Response), "", "  ")
		if err != nil {
			return fmt.Errorf("--metadata-file: %w", err)
		}
		if err := replace(r.MetadataFile, append(text, '\n')); err != nil {
			return fmt.Errorf("--metadata-file: %w", err)
		}
	}
	if r.IIDFile != "" {
		if err := replace(r.IIDFile, []byte(result.ID())); err != nil {
			return fmt.Errorf("--iidfile: %w", err)
		}
	}
	return nil
}

// metadata is an exporters' response as buildx writes it: values that are JSON in
// base64 become JSON.
func metadata(response map[string]string) map[string]any {
	m := map[string]any{}
	for k, v := range response {
		m[k] = v
		if text, err := base64.StdEncoding.DecodeString(v); err == nil && len(text) > 0 && text[0] == '{' && json.Valid(text) {
			m[k] = json.RawMessage(text)
		}
	}
	return m
}

// replace writes a file beside name and renames it.
func replace(name string, text []byte) error {
	to, err := placeOf("", name)
	if err != nil {
		return err
	}
	if err := to.write(text); err != nil {
		return fmt.Errorf("%s: %w", name, reason(err))
	}
	return nil
}
