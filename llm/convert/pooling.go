package convert

import (
	"path/filepath"
	"slices"
	"strings"
)

// pooling reads how vectors of texts are made, where the folder is sentence-transformers': GGUF's number for it; 0: not said.
func pooling(dir string) (uint32, error) {
	var modules []struct{ Path, Type string }
	found, err := readJSON(dir, "modules.json", maxConfig, &modules)
	if err != nil || !found {
		return 0, err
	}
	var kind uint32
	for _, m := range modules {
		class := m.Type[strings.LastIndexByte(m.Type, '.')+1:]
		switch class {
		case "Transformer", "Normalize":
			continue
		case "Pooling":
		default:
			return 0, wrong("modules.json", "type", "a module is %q, which has no place in GGUF; Transformer, Pooling and Normalize have", m.Type)
		}
		if !filepath.IsLocal(m.Path) {
			return 0, wrong("modules.json", "path", "%q is no folder inside this one", m.Path)
		}
		name := filepath.Join(m.Path, "config.json")
		var p map[string]any
		if found, err := readJSON(dir, name, maxConfig, &p); err != nil {
			return 0, err
		} else if !found {
			return 0, wrong("modules.json", "path", "%s is missing", name)
		}
		var modes []string
		for key, v := range p {
			if mode, is := strings.CutPrefix(key, "pooling_mode_"); is && v == true {
				modes = append(modes, strings.TrimSuffix(strings.TrimSuffix(mode, "_tokens"), "_token"))
			}
		}
		if mode, ok := p["pooling_mode"].(string); ok && len(modes) == 0 {
			modes = append(modes, mode)
		}
		slices.Sort(modes)
		at := slices.Index([]string{"", "mean", "cls", "lasttoken"}, strings.Join(modes, " + "))
		if at < 1 {
			return 0, wrong(name, "pooling_mode", "it pools by %q; mean, cls and lasttoken have a place in GGUF", strings.Join(modes, " + "))
		}
		kind = uint32(at)
	}
	return kind, nil
}
