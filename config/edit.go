package config

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Setting is a value to write into a file: Path is its keys with dots between them.
type Setting struct {
	Path  string
	Value any // an int or a string
}

// SetModel sets values in a model.yaml and leaves its other lines, comments included, as they are. The result is checked as
// ReadModel does.
func SetModel(data []byte, file string, settings []Setting) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(doc.Content) == 0 {
		doc = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: must be a mapping of settings", file)
	}
	for _, s := range settings {
		at := root
		keys := strings.Split(s.Path, ".")
		for _, key := range keys[:len(keys)-1] {
			at = child(at, key, &yaml.Node{Kind: yaml.MappingNode})
			if at.Kind != yaml.MappingNode {
				return nil, fmt.Errorf("%s: %s: must be a mapping of settings", file, key)
			}
		}
		var value yaml.Node
		if err := value.Encode(s.Value); err != nil {
			return nil, err
		}
		to := child(at, keys[len(keys)-1], &yaml.Node{})
		to.Kind, to.Tag, to.Value, to.Style, to.Content = value.Kind, value.Tag, value.Value, 0, nil
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	if _, err := ReadModel(out.Bytes(), file); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// child is the value of a mapping's key, which is added if it is missing.
func child(mapping *yaml.Node, key string, missing *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	mapping.Style = 0 // a flow mapping cannot grow readably
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, missing)
	return missing
}
