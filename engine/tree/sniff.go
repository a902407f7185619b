package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// format is a kind of file that can be loaded.
type format uint8

const (
	noFormat format = iota
	xgbJSON
	xgbUBJ
	lightText
	catJSON
)

// extensions are what files with trees are called; "" is a file without one. The content decides what they are.
var extensions = []string{".json", ".ubj", ".txt", ".bst", ".model", ".xgb", ".lgb", ".lgbm", ".cbm", ".bin", ""}

// sniffed is how many bytes of a file are looked at.
const sniffed = 64 << 10

// artefact is the name and the format of the model's file in a version folder.
func artefact(dir fs.FS) (string, format, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return "", noFormat, err
	}
	var found []string
	var kind format
	why := errors.New("tree: the folder has no file that is a model of XGBoost (JSON, UBJ), LightGBM (text) or CatBoost (JSON)")
	for _, entry := range entries {
		ext := strings.ToLower(path.Ext(entry.Name()))
		if entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || !slices.Contains(extensions, ext) {
			continue
		}
		head, err := readHead(dir, entry.Name())
		if err != nil {
			return "", noFormat, fmt.Errorf("tree: %w", err)
		}
		k, reason := sniff(head)
		if reason != nil {
			why = fmt.Errorf("tree: %s %w", entry.Name(), reason)
		}
		if k != noFormat {
			kind = k
			found = append(found, entry.Name())
		}
	}
	switch len(found) {
	case 0:
		return "", noFormat, why
	case 1:
		return found[0], kind, nil
	}
	return "", noFormat, fmt.Errorf("tree: the folder has %d models (%s); keep the one to serve and move the others away", len(found), strings.Join(found, ", "))
}

// chosen is the file that the settings name and its format, or what the folder holds.
func chosen(dir fs.FS, asked string) (string, format, error) {
	if asked == "" {
		return artefact(dir)
	}
	head, err := readHead(dir, filepath.ToSlash(asked))
	if err != nil {
		return "", noFormat, fmt.Errorf("tree: %w", err)
	}
	kind, why := sniff(head)
	switch {
	case why != nil:
		return "", noFormat, fmt.Errorf("tree: %s %w", asked, why)
	case kind == noFormat:
		return "", noFormat, fmt.Errorf("tree: %s is no model of XGBoost (JSON, UBJ), LightGBM (text) or CatBoost (JSON)", asked)
	}
	return asked, kind, nil
}

func readHead(dir fs.FS, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	head := make([]byte, sniffed)
	n, err := io.ReadFull(f, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], err
}

// sniff tells a format by a file's first bytes. An error says what a file is that cannot be loaded; it continues "model.x …".
func sniff(head []byte) (format, error) {
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case bytes.HasPrefix(head, []byte("{L")) || bytes.HasPrefix(head, []byte("{#L")):
		if bytes.Contains(head[:min(len(head), 256)], []byte("learner")) || bytes.Contains(head[:min(len(head), 256)], []byte("version")) {
			return xgbUBJ, nil
		}
	case bytes.HasPrefix(trimmed, []byte("{")):
		for key, f := range map[string]format{`"learner"`: xgbJSON, `"features_info"`: catJSON, `"oblivious_trees"`: catJSON, `"ctr_data"`: catJSON} {
			if bytes.Contains(trimmed, []byte(key)) {
				return f, nil
			}
		}
	case bytes.HasPrefix(head, []byte("tree\n")) || bytes.HasPrefix(head, []byte("tree\r\n")):
		return lightText, nil
	case bytes.HasPrefix(head, []byte("CBM1")):
		return noFormat, errors.New(`is CatBoost's own binary format; save the model with save_model("model.json", format="json")`)
	case bytes.HasPrefix(head, []byte("binf")):
		return noFormat, errors.New(`is XGBoost's old binary format; load it with XGBoost and save it with save_model("model.ubj")`)
	case len(head) > 1 && head[0] == 0x80 && head[1] <= 5:
		return noFormat, errors.New("is a pickle; save the model in its library's own format (XGBoost: ubj, LightGBM: txt, CatBoost: json)")
	}
	return noFormat, nil
}
