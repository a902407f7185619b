package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// GGUF is a small language model that test/setup.sh fetched: "smollm2.gguf" or "gemma3.gguf".
func GGUF(t testing.TB, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "serval-test", "gguf", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run test/setup.sh", err)
	}
	return path
}
