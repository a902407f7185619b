package test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"serval"
	servalclient "serval/client"
	"serval/internal/testkit"
)

var voices struct {
	once   sync.Once
	models string
}

// voiceModels is a folder with a chat model of a small context, one that takes tensors, and one that embeds. Tests must not change
// it.
func voiceModels(t *testing.T) string {
	t.Helper()
	voices.once.Do(func() {
		root := filepath.Join(scratch, "voices")
		if err := os.MkdirAll(filepath.Join(root, "chat", "1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), filepath.Join(root, "chat", "1", "model.gguf")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, "chat", "model.yaml"), "threads: 1\ntext: {context: 512, slots: 4}\naliases: {small: \"1\"}\n")
		put(t, filepath.Join(root, "mlp"), "1", "mlp")
		link(t, cache(t, "minilm", "1"), filepath.Join(root, "minilm", "1"))
		voices.models = root
	})
	if voices.models == "" {
		t.Fatal("the models could not be laid out; the first test that needs them says why")
	}
	return voices.models
}

// long is a prompt whose answer has hundreds of tokens, whatever the model thinks of it.
var long = []string{"Numbers.", "--json-schema", `{"type": "array", "items": {"type": "integer"}, "minItems": 900}`, "--temperature", "0"}

// runIn is run with a text on standard input.
func runIn(t *testing.T, stdin string, args ...string) said {
	t.Helper()
	out, errs, code := testkit.RunIn(t.Context(), t, stdin, args...)
	return said{out, errs, code}
}

// askAPI asks the server for the same as a command, and returns the answer's text and the prompt's tokens.
func askAPI(t *testing.T, s *testkit.Server, messages any, most int) (text string, prompt int) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"model": "chat", "messages": messages, "temperature": 0, "max_tokens": most})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(s.URL("/v1/chat/completions"), "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Choices []struct{ Message struct{ Content string } }
		Usage   struct {
			Prompt int `json:"prompt_tokens"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || len(a.Choices) != 1 {
		t.Fatal(resp.Status, err)
	}
	return a.Choices[0].Message.Content, a.Usage.Prompt
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func TestRun(t *testing.T) {
	t.Parallel()
	s := testkit.Serve(t, testkit.Options{Models: voiceModels(t)})
	at := []string{"--server", s.HTTP, "--temperature", "0", "--max-tokens", "10"}
	ask := func(stdin string, args ...string) said {
		t.Helper()
		return runIn(t, stdin, append(append([]string{"run"}, args...), at...)...)
	}
	want, _ := askAPI(t, s, []message{{"user", "Say hello."}}, 10)
	for _, model := range []string{"chat", "chat:1", "chat@small"} {
		if got := ask("", model, "Say", "hello.").want(t, 0); got.out != want+"\n" || !strings.Contains(got.errs, "cut after 10 tokens") || strings.Contains(got.errs, "tokens/s") {
			t.Errorf("%s: %q %q, the server says %q", model, got.out, got.errs, want)
		}
	}
	if got := ask("hello.", "chat", "Say").want(t, 0); got.out == want+"\n" {
		t.Error("the text on standard input is not apart from the prompt")
	}
	joined, _ := askAPI(t, s, []message{{"system", "Be brief."}, {"user", "Repeat this:\n\nOne line.\nAnother."}}, 10)
	if got := ask("One line.\nAnother.\n", "chat", "Repeat this:", "--system", "Be brief.").want(t, 0); got.out != joined+"\n" {
		t.Errorf("prompt and standard input: %q, the server says %q", got.out, joined)
	}
	if got := ask("Say hello.\n", "chat", "--stats").want(t, 0); got.out != want+"\n" || !strings.Contains(got.errs, "10 tokens in ") || !strings.Contains(got.errs, "the prompt has ") {
		t.Errorf("a prompt on standard input: %q %q", got.out, got.errs)
	}

	var o struct {
		Model, Answer, Finish string
		Usage                 struct {
			Prompt     int `json:"prompt_tokens"`
			Cached     int `json:"cached_tokens"`
			Completion int `json:"completion_tokens"`
		}
		Timings struct {
			First float64 `json:"first_token_seconds"`
			Whole float64 `json:"total_seconds"`
		}
	}
	ask("", "chat", "Say hello.", "-o", "json").into(t, &o)
	if o.Model != "chat" || o.Answer != want || o.Finish != "length" || o.Usage.Completion != 10 || o.Usage.Cached == 0 || o.Usage.Prompt <= o.Usage.Cached || o.Timings.First <= 0 || o.Timings.Whole < o.Timings.First {
		t.Errorf("as JSON: %+v", o)
	}
	cut, _, _ := strings.Cut(want, want[2:3])
	if got := ask("", "chat", "Say hello.", "--stop", want[2:3]).want(t, 0); got.out != cut+"\n" || got.errs != "" {
		t.Errorf("with a stop text: %q %q", got.out, got.errs)
	}

	schema := filepath.Join(t.TempDir(), "person.json")
	write(t, schema, `{"type": "object", "properties": {"age": {"type": "integer", "maximum": 150, "minimum": 0}}, "required": ["age"], "additionalProperties": false}`)
	var person map[string]int
	run(t, "run", "chat", "Ann is 41.", "--json-schema", schema, "--server", s.HTTP, "--temperature", "0").into(t, &person)
	if len(person) != 1 || person["age"] < 0 || person["age"] > 150 {
		t.Errorf("by a schema: %v", person)
	}
	ask("", append([]string{"chat"}, long...)...).want(t, 1, "its JSON has no end")
	run(t, "run", "chat", "hi", "--json-schema", `{"$ref": "#/x"}`, "--server", s.HTTP).want(t, 1, "schema")
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Serve(t, testkit.Options{Models: voiceModels(t)})
	at := []string{"--server", s.HTTP}
	on := func(args ...string) said { return run(t, append(append([]string{"run"}, args...), at...)...) }
	on("chta", "hi").want(t, 1, "'chta' is not found", "'chat'")
	on("chat@none", "hi").want(t, 1, "alias 'none'")
	on("mlp", "hi").want(t, 1, "serval predict mlp FILE")
	on("minilm", "hi").want(t, 1, "/v1/embeddings")
	on("chat").want(t, 2, "no prompt")
	on("chat", " ").want(t, 2, "no prompt")
	on("chat", "hi", "-o", "xml").want(t, 2, "xml", "json")
	on("chat", "hi", "--temperature", "warm").want(t, 2, "temperature", "warm")
	on("chat", "hi", "--as", "x").want(t, 2, "--as")
	on("file:x.gguf", "hi").want(t, 2, "--server")
	on("chat", strings.Repeat("many words ", 600)).want(t, 1, "512", "shorten it by")
	runIn(t, "a\xffb", append([]string{"run", "chat"}, at...)...).want(t, 2, "UTF-8", "byte 1")
	run(t, "run", "chat", "hi", "--server", "127.0.0.1:1").want(t, 1, "refused", "serval serve")
	models := voiceModels(t)
	run(t, "run", "nobody", "hi", "--local", "--models", models).want(t, 1, "'nobody'", "chat, minilm, mlp", "hf:")
	run(t, "run", "mlp", "hi", "--local", "--models", models).want(t, 1, "serval predict mlp FILE")
	run(t, "run", "hf:acme", "hi").want(t, 2, "hf:org/repo")
	run(t, "run", "./none.gguf", "hi").want(t, 1, "there is no file")
	broken := filepath.Join(t.TempDir(), "broken.gguf")
	write(t, broken, "GGUF\x03\x00\x00\x00")
	run(t, "run", broken, "hi").want(t, 1, "broken")
}

// A model is loaded by the command where there is no server: from the models folder, a file, or a source, which is pulled once.
func TestRunLocal(t *testing.T) {
	t.Parallel()
	flags := []string{"--temperature", "0", "--max-tokens", "6"}
	ask := func(args ...string) said {
		t.Helper()
		return run(t, append(append([]string{"run"}, args...), flags...)...).want(t, 0)
	}
	want := ask("chat", "Say hello.", "--local", "--models", voiceModels(t)).out
	if len(want) < 8 {
		t.Errorf("it says %q", want)
	}
	if got := ask(testkit.GGUF(t, "smollm2.gguf"), "Say hello.").out; got != want {
		t.Errorf("the file says %q, from the folder it says %q", got, want)
	}
	models := t.TempDir()
	from := filepath.Join(t.TempDir(), "Small.gguf")
	if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), from); err != nil {
		t.Fatal(err)
	}
	got := ask("file:"+from, "Say hello.", "--models", models)
	if got.out != want || !strings.Contains(got.errs, "small: ") {
		t.Errorf("the source says %q %q, want %q", got.out, got.errs, want)
	}
	if err := os.Remove(from); err != nil {
		t.Fatal(err)
	}
	if got := ask("file:"+from, "Say hello.", "--models", models); got.out != want || strings.Contains(got.errs, "small: ") {
		t.Errorf("pulled before, it says %q %q, want %q", got.out, got.errs, want)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "serval-run-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Ctrl-C ends an answer, and the server's slot is free for others; so does a reader that has enough.
func TestRunIsInterrupted(t *testing.T) {
	t.Parallel()
	s := testkit.Serve(t, testkit.Options{Models: voiceModels(t)})
	free := func(what string) {
		t.Helper()
		c := servalclient.New(s.HTTP, "")
		defer c.Close()
		s.Await("a free slot after "+what, func() bool {
			list, err := c.Stats(t.Context(), serval.Ref{Name: "chat"})
			return err == nil && len(list) == 1 && list[0].Sequences == 0
		})
	}
	cmd := exec.Command(testkit.Build(t, false), append([]string{"run", "chat", "--server", s.HTTP}, long...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	some := make([]byte, 8)
	if _, err := io.ReadFull(out, some); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // its state has the result
	if code := cmd.ProcessState.ExitCode(); code != 130 || errs.Len() > 0 {
		t.Errorf("exit code %d, said %q", code, errs.String())
	}
	free("an interrupt")

	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(testkit.Build(t, false), append([]string{"run", "chat", "--server", s.HTTP}, long...)...)
	errs.Reset()
	cmd.Stdout, cmd.Stderr = written, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = written.Close()
	if _, err := io.ReadFull(read, some); err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGPIPE) || errs.Len() > 0 {
		t.Errorf("a closed pipe: exit code %d, said %q", code, errs.String())
	}
	free("a closed pipe")
}

// promptTokens is what a line of statistics says of the prompt.
var promptTokens = regexp.MustCompile(`the prompt has (\d+)`)

// TestRunOnTerminal holds a conversation as a person does.
func TestRunOnTerminal(t *testing.T) {
	t.Parallel()
	s := testkit.Serve(t, testkit.Options{Models: voiceModels(t)})
	x := onTerminal(t, "run", "chat", "--server", s.HTTP, "--temperature", "0", "--max-tokens", "8")
	x.await("chat, answered by http://"+s.HTTP+", context of 512 tokens", ">>> ")
	if x.echoes() {
		t.Error("the terminal is not raw")
	}
	x.keys("My name is Bob.\r")
	first := promptTokens.FindStringSubmatch(x.await("cut after 8 tokens", "tokens/s", "the prompt has ", ">>> "))
	x.keys("What is my name?\r")
	second := promptTokens.FindStringSubmatch(x.await("cut after 8 tokens", "the prompt has ", ">>> "))

	// The second question was asked with the first and its answer, which is what the server says to that.
	file := filepath.Join(t.TempDir(), "talk.json")
	x.keys("/save " + file + "\r")
	x.await("(4 messages are in", ">>> ")
	talk := transcript(t, file)
	if len(talk) != 4 || talk[0].Content != "My name is Bob." || talk[1].Role != "assistant" || talk[2].Content != "What is my name?" {
		t.Fatalf("saved is %+v", talk)
	}
	text, prompt := askAPI(t, s, talk[:3], 8)
	if _, alone := askAPI(t, s, talk[:1], 8); first == nil || second == nil || first[1] != strconv.Itoa(alone) || second[1] != strconv.Itoa(prompt) || prompt <= alone {
		t.Errorf("prompts of %v and %v tokens, of the server's count %d and %d", first, second, alone, prompt)
	}
	if text != talk[3].Content {
		t.Errorf("with its history the model says %q, here it said %q", text, talk[3].Content)
	}

	// Several lines, typed and pasted, and the settings.
	x.keys("/clear\r/system Be brief.\r/set max-tokens 2\r/set\r")
	x.await("(forgotten", "max-tokens           2", "stats                on", ">>> ")
	x.keys("\"\"\"one\rtwo\"\"\"\r")
	x.await("... ", "the prompt has ", ">>> ")
	x.keys("see \x1b[200~three\rfour\x1b[201~\r")
	x.await("see [paste 1: 2 lines]", "the prompt has ", ">>> ")
	x.keys("/sav -f " + file + "\r/save -f " + file + "\r")
	x.await("did you mean /save?", "(4 messages are in", ">>> ")
	if talk = transcript(t, file); len(talk) != 5 || talk[0] != (message{"system", "Be brief."}) || talk[1].Content != "one\ntwo" || talk[3].Content != "see three\nfour" {
		t.Errorf("saved is %+v", talk)
	}

	// Ctrl-C ends an answer; the conversation goes on.
	x.keys("/clear\r/set max-tokens default\r/set json-schema {\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"minItems\": 900}\r")
	x.await("(forgotten", ">>> ", ">>> ", ">>> ")
	x.keys("Numbers.\r")
	x.await("[")
	x.keys("\x03")
	x.await("(stopped; what was said stays", ">>> ")
	x.keys("/set json-schema default\r/set max-tokens 2\r/undo\r")
	x.await("(forgotten: the last question", ">>> ")

	// What does not fit is said, and nothing is cut.
	write(t, file, `[{"role": "user", "content": "`+strings.Repeat("many words ", 120)+`"}, {"role": "assistant", "content": "`+strings.Repeat("many words ", 120)+`"}]`)
	x.keys("/load " + file + "\rAnd?\r")
	x.await("(2 messages from", "error: the prompt has ", "512", "shorten it by", "/drop", ">>> ")
	x.keys("/drop\r/retry\r")
	x.await("(forgotten: the 2 oldest", "the prompt has ", ">>> ")

	x.keys("half a li\x03")
	x.await("(Ctrl-C again", ">>> ")
	x.keys("\x03")
	if code := x.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !x.echoes() {
		t.Error("the terminal is left raw")
	}
}

// A conversation also ends by Ctrl-D, and by a signal, and the terminal is as it was.
func TestRunLeavesTheTerminal(t *testing.T) {
	t.Parallel()
	s := testkit.Serve(t, testkit.Options{Models: voiceModels(t)})
	for _, end := range []struct {
		how  string
		do   func(*terminal)
		code int
	}{
		{"Ctrl-D", func(x *terminal) { x.keys("\x04") }, 0},
		{"/bye", func(x *terminal) { x.keys("/bye\r") }, 0},
		{"SIGTERM", func(x *terminal) { _ = x.cmd.Process.Signal(syscall.SIGTERM) }, 128 + int(syscall.SIGTERM)},
		{"SIGHUP", func(x *terminal) { _ = x.cmd.Process.Signal(syscall.SIGHUP) }, 128 + int(syscall.SIGHUP)},
	} {
		x := onTerminal(t, "run", "chat", "--server", s.HTTP)
		x.await(">>> ")
		end.do(x)
		if code := x.exit(); code != end.code || !x.echoes() {
			t.Errorf("%s: exit code %d, want %d; the terminal shows what is typed: %v", end.how, code, end.code, x.echoes())
		}
	}
	// With a PROMPT it is one answer, and on a terminal it says what that took.
	x := onTerminal(t, "run", "chat", "Say hello.", "--server", s.HTTP, "--temperature", "0", "--max-tokens", "4")
	x.await("4 tokens in ", "cut after 4 tokens")
	if code := x.exit(); code != 0 || strings.Contains(x.screen(), ">>>") {
		t.Errorf("exit code %d, %q", code, x.screen())
	}
}

func transcript(t *testing.T, file string) []message {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []message
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	return list
}
