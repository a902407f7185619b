// Package config reads serval.yaml, model.yaml and the Options of plug-ins. One strict decoder serves them all: it works
// from the struct tags `yaml` (the key), `doc` (what it means), `enum` (allowed values) and `min`/`max`, reports every
// mistake at once as file:line:col: path: reason with a hint, and the same tags give the JSON Schema.
//
// Called by cmd, server and registry. It imports the root and go.yaml.in/yaml/v3, reads no files and no environment.
package config
