package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"serval/llm/vocab"
)

// windows are pieces of the texts, in turn the first of each, the second of each, and so on, each with what the model wants in front.
func windows(o *options, words *vocab.Vocabulary) ([][]int32, error) {
	front := words.Encode(nil, "", vocab.Options{Around: true})
	var texts [][]int32
	for _, name := range strings.Split(o.texts, ",") {
		data, err := read(name)
		if err != nil {
			return nil, fmt.Errorf("-texts: %s: %w", name, err)
		}
		texts = append(texts, words.Encode(nil, string(data), vocab.Options{}))
	}
	size := o.window - len(front)
	if size < 2 {
		return nil, fmt.Errorf("-window: %d tokens are too few", o.window)
	}
	var list [][]int32
	for at := 0; len(list) < o.windows; at += size {
		before := len(list)
		for _, t := range texts {
			if at+size <= len(t) && len(list) < o.windows {
				list = append(list, append(append([]int32(nil), front...), t[at:at+size]...))
			}
		}
		if len(list) == before {
			return nil, fmt.Errorf("-texts: they have only %d pieces of %d tokens", len(list), o.window)
		}
	}
	return list, nil
}

// read reads a file, or COMMIT:PATH of this repository, which stays as it is while others write.
func read(name string) ([]byte, error) {
	if strings.Contains(name, ":") {
		return exec.Command("git", "show", name).Output()
	}
	return os.ReadFile(name)
}

// prompts are n texts of several kinds, half of them chats.
func prompts(n int) []string {
	topics := []string{
		"glass", "prime numbers", "the moon", "bread", "sailing ships", "photosynthesis", "the French revolution", "bees", "chess", "steel",
		"rain", "the number seven", "violins", "earthquakes", "the human heart", "maps", "trade in the Middle Ages", "snow", "compilers", "tea",
	}
	forms := []string{
		"<|im_start|>user\nWhat is %s?<|im_end|>\n<|im_start|>assistant\n",
		"The history of %s begins",
		"<|im_start|>system\nYou are a careful teacher.<|im_end|>\n<|im_start|>user\nGive me an outline of a talk on %s for a class of ten-year-olds, in four points.<|im_end|>\n<|im_start|>assistant\n",
		"# A program about %s\n\nimport sys\n\ndef main():\n",
		"Dear Sir or Madam,\n\nI am writing to you about %s, which",
	}
	var list []string
	for i := range n {
		text := fmt.Sprintf(forms[i%len(forms)], topics[i/len(forms)%len(topics)])
		if again := i / (len(forms) * len(topics)); again > 0 {
			text = fmt.Sprintf("%d. %s", again, text)
		}
		list = append(list, text)
	}
	return list
}
