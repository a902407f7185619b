package server

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// kept is a folder with what the control API was told of streams: NAME.yaml is a stream's section, NAME.pause that it was paused
// or resumed. Names of streams are those of files, too.
type kept struct{ dir string }

const (
	keptText  = ".yaml"
	keptPause = ".pause"
)

// texts are the sections, by stream.
func (k kept) texts() (map[string]string, error) {
	list, err := os.ReadDir(k.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	all := map[string]string{}
	for _, f := range list {
		name, ok := strings.CutSuffix(f.Name(), keptText)
		if !ok || !f.Type().IsRegular() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(k.dir, f.Name()))
		if err != nil {
			return nil, err
		}
		all[name] = string(raw)
	}
	return all, nil
}

func (k kept) put(name, text string) error { return k.write(name+keptText, []byte(text)) }

// forget removes all about a stream.
func (k kept) forget(name string) error {
	for _, kind := range []string{keptText, keptPause} {
		if err := os.Remove(filepath.Join(k.dir, name+kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the data folder: %w", err)
		}
	}
	return syncDir(k.dir)
}

// pausing is what was asked for, and what the definition said then: an operator's word holds until that changes.
type pausing struct {
	Paused     bool `json:"paused"`
	Configured bool `json:"configured"`
}

func (k kept) pause(name string, on, configured bool) error {
	raw, err := json.Marshal(pausing{on, configured})
	if err != nil {
		return err
	}
	return k.write(name+keptPause, append(raw, '\n'))
}

// paused says whether a stream is to be paused whose definition says configured.
func (k kept) paused(name string, configured bool) bool {
	var p pausing
	raw, err := os.ReadFile(filepath.Join(k.dir, name+keptPause))
	if err != nil || json.Unmarshal(raw, &p) != nil || p.Configured != configured {
		return configured
	}
	return p.Paused
}

// write puts a file in place so that after a crash it is the old one or the new one. It may hold passwords.
func (k kept) write(name string, raw []byte) error {
	fail := func(err error) error { return fmt.Errorf("the data folder: %w", err) }
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(k.dir, "new-*")
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(k.dir, name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fail(err)
	}
	return syncDir(k.dir)
}

// syncDir makes what changed in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the data folder: %w", err)
	}
	defer d.Close()
	_ = d.Sync() // not every file system has it
	return nil
}

// instanceOf is a word that is this server's alone, kept in its data folder: brokers know it by that after a restart.
func instanceOf(dir string) (string, error) {
	file := filepath.Join(dir, "instance")
	raw, err := os.ReadFile(file)
	if word := strings.TrimSpace(string(raw)); err == nil && word != "" {
		return word, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("streams: %w", err)
	}
	random := make([]byte, 6)
	_, _ = rand.Read(random) // never fails
	word := hex.EncodeToString(random)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("streams: the data folder is needed to keep this server's name: %w", err)
	}
	fresh := file + ".new"
	if err := os.WriteFile(fresh, []byte(word+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("streams: the data folder is needed to keep this server's name: %w", err)
	}
	return word, os.Rename(fresh, file)
}
