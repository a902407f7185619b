package gguf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// UsualName is the file of a folder that holds several, where nobody says which one.
const UsualName = "model.gguf"

// partName is how the files of a model in several parts are called.
var partName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// Find is the name of the model's (first) file in a folder: the one asked for, or what the folder holds.
func Find(dir fs.FS, asked string) (string, error) {
	if asked != "" {
		asked = filepath.ToSlash(asked)
		if _, err := fs.Stat(dir, asked); err != nil {
			return "", fmt.Errorf("the folder has no %s", asked)
		}
		return asked, nil
	}
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return "", err
	}
	var found []string
	later := "" // a part of a model, when it is not the first
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || !strings.EqualFold(filepath.Ext(name), ".gguf") || strings.HasPrefix(name, "mmproj") {
			continue
		}
		if name == UsualName {
			return name, nil
		}
		if p := partName.FindStringSubmatch(name); p != nil && p[2] != "00001" {
			later = name
			continue
		}
		found = append(found, name)
	}
	switch {
	case len(found) == 0 && later != "":
		p := partName.FindStringSubmatch(later)
		return "", fmt.Errorf("%s is a part of a model, but its first part, %s-00001-of-%s.gguf, is not there; put all %s parts into the folder", later, p[1], p[3], strings.TrimLeft(p[3], "0"))
	case len(found) == 0:
		return "", errors.New("the folder has no .gguf file")
	case len(found) == 1:
		return found[0], nil
	}
	return "", fmt.Errorf("the folder has %d .gguf files (%s) and none is called %s; name the one to serve as file: in model.yaml, or move the others away",
		len(found), strings.Join(found, ", "), UsualName)
}

// Holds says why a folder does not hold one model that begins as GGUF files do; nil: it does.
func Holds(dir fs.FS) error {
	name, err := Find(dir, "")
	if err != nil {
		return err
	}
	file, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != "GGUF" {
		return fmt.Errorf("%s is no GGUF file: it begins with %q", name, magic)
	}
	return nil
}
