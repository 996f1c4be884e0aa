package project

import (
	"encoding/json"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/hybrid-containers/hybrid/sdk"
)

// Schema is the JSON schema of the file, for editors: made of the Go types that it
// is read into, so that the two cannot differ.
func Schema() (*jsonschema.Schema, error) {
	text := &jsonschema.Schema{Types: []string{"string", "number", "boolean", "null"}}
	types := map[reflect.Type]*jsonschema.Schema{reflect.TypeFor[Text](): text}
	mapping, err := jsonschema.For[targetMapping](&jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		return nil, err
	}
	types[reflect.TypeFor[Target]()] = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Type: "string", Description: "BOARD/MCU, or BOARD where it has one kind of core"},
		mapping,
	}}
	schema, err := jsonschema.For[File](&jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		return nil, err
	}
	for _, name := range sdk.Names() {
		schema.Properties["sdk"].Enum = append(schema.Properties["sdk"].Enum, name)
	}
	schema.Schema = "https://json-schema.org/draft/2020-12/schema"
	schema.Title, schema.Description = FileName, "What hybrid build need not be told each time."
	return schema, nil
}

// SchemaJSON is Schema as a document.
func SchemaJSON() ([]byte, error) {
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(schema, "", "  ")
}
