package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"serval/internal/testkit"
)

var chats struct {
	once   sync.Once
	models string
}

// chatModels is a folder with a small chat model. Tests must not change it.
func chatModels(t *testing.T) string {
	t.Helper()
	chats.once.Do(func() {
		root := filepath.Join(scratch, "chats")
		if err := os.MkdirAll(filepath.Join(root, "chat", "1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), filepath.Join(root, "chat", "1", "model.gguf")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, "chat", "model.yaml"), "threads: 1\ntext: {context: 2048, slots: 8}\n") // others run beside it
		chats.models = root
	})
	if chats.models == "" {
		t.Fatal("the chat model could not be laid out; the first test that needs it says why")
	}
	return chats.models
}

// TestTextClients runs the field's clients of LLM servers, unchanged.
func TestTextClients(t *testing.T) {
	t.Parallel()
	s := testkit.Serve(t, testkit.Options{Race: true, Models: chatModels(t), Data: filepath.Join(scratch, "chat-data")})
	for _, file := range []string{"test_openai.py", "test_responses.py", "test_anthropic.py", "test_ollama.py", "test_text_clients.py"} {
		t.Run(file, func(t *testing.T) { pytestOn(t, s, chats.models, "llm", file) })
	}
	t.Run("javascript", func(t *testing.T) {
		script := filepath.Join(filepath.Dir(cache(t, "js", "package.json")), "openai.mjs") // beside its node_modules
		copyFile(t, "clients/js/openai.mjs", script)
		client(t, s, "node", "--test", script)
	})
	t.Run("go", func(t *testing.T) { client(t, s, cache(t, "bin", "go-clients"), "-test.v") })
}

// client runs a client in another language.
func client(t *testing.T, s *testkit.Server, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "SERVAL_HTTP="+s.HTTP)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", program, err, out)
	}
}
