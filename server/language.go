package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
	"serval/llm/vocab"
	"serval/registry"
	"serval/schedule"
	"serval/task/embed"
	"serval/task/generate"
)

// text is the task of a model of text: each kind of input has its own.
type text struct {
	what     string
	generate serval.Handler
	embed    serval.Handler
}

// Handle hands on to the task that answers this kind of input.
func (t *text) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	switch req.Input.(type) {
	case *serval.Chat, *serval.Completion, *serval.Tokenize, *serval.Detokenize:
		return t.generate.Handle(ctx, req, sink)
	case *serval.Texts, *serval.Rank:
		return t.embed.Handle(ctx, req, sink)
	}
	return serval.Errorf(serval.InvalidArgument, "%s takes text, by the APIs of OpenAI and others; for its tensors, set text: {tensors: true} in model.yaml", t.what).At("model")
}

// presentText puts the tasks before an opened model of text.
func presentText(_ context.Context, src registry.Source, eng engine.Engine, opened *schedule.Opened) (*loaded, error) {
	lang := *opened.Language
	settings := serval.TextSettings{}
	if opened.Settings.Text != nil {
		settings = *opened.Settings.Text
	}
	words, template, err := readLanguage(lang.File)
	if err != nil {
		return nil, err
	}
	if settings.Template != "" {
		if template, err = readTemplate(src.Root, settings.Template); err != nil {
			return nil, err
		}
	}
	generator, err := generate.New(generate.Options{
		Name: src.Name, Version: src.Version, Language: lang, Settings: settings, Vocabulary: words, Template: template, Next: opened.Loaded,
	})
	if err != nil {
		return nil, err
	}
	return &loaded{
		Loaded: opened.Loaded,
		task: &text{
			what: fmt.Sprintf("model '%s' version %s", src.Name, src.Version), generate: generator,
			embed: embed.New(embed.Options{Name: src.Name, Version: src.Version, Language: lang, Settings: settings, Vocabulary: words, Next: opened.Loaded}),
		},
		info: serval.ModelInfo{
			Name: src.Name, Version: src.Version, Engine: eng.Name(), Platform: eng.Platform(), Path: src.Dir, Signature: opened.Signature, Language: &lang,
			Settings: opened.Settings, Batching: opened.Loaded.Batching(), Memory: opened.Memory.Bytes,
		},
		limits: true,
	}, nil
}

// readLanguage reads a model's vocabulary and its chat template, "" if it has none: of a GGUF file, or of tokenizer.json and
// the tokenizer_config.json beside it.
func readLanguage(file string) (*vocab.Vocabulary, string, error) {
	if filepath.Ext(file) != ".gguf" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, "", err
		}
		config, err := os.ReadFile(filepath.Join(filepath.Dir(file), "tokenizer_config.json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
		words, err := vocab.FromJSON(raw, config)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		return words, "", nil
	}
	f, err := gguf.Open(file)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	words, err := vocab.FromGGUF(f)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	template, _ := f.String("tokenizer.chat_template")
	return words, template, nil
}

// readTemplate reads the template that the settings name, from the model's folder.
func readTemplate(root, file string) (string, error) {
	if !filepath.IsLocal(file) {
		return "", fmt.Errorf("text.template: %q must be a path inside the model's folder", file)
	}
	folder, err := openFolder(root)
	if err != nil {
		return "", err
	}
	defer folder.Close()
	raw, err := fs.ReadFile(folder, filepath.ToSlash(file))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("text.template: there is no %s in the model's folder", file)
	}
	return cmp.Or(strings.TrimSuffix(string(raw), "\n"), " "), err
}
