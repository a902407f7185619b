package llama

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"serval"
)

// chats are n conversations as SmolLM2 writes them, short and long ones, all with one beginning.
func chats(d *decoder, n int) [][]int32 {
	topics := []string{
		"glass", "prime numbers", "the moon", "bread", "sailing ships", "photosynthesis", "the French revolution", "bees", "chess", "steel",
		"rain", "the number seven", "violins", "earthquakes", "the human heart", "maps", "trade between cities in the Middle Ages", "snow",
		"compilers", "tea",
	}
	asks := []string{
		"What is %s?", "Tell me something about %s that few people know.", "Write one sentence about %s.",
		"I have to give a talk on %s to a class of ten-year-olds next Monday. Give me an outline of four points, and for each point a question that I can ask them so that they stay awake.",
		"List three facts about %s.\n\nThen say which of them matters most, and why, in a short paragraph that starts with the word \"Because\" and names at least one person, one place and one year.",
	}
	var list [][]int32
	for i := range n {
		text := fmt.Sprintf(asks[i%len(asks)], topics[i/len(asks)%len(topics)])
		list = append(list, d.words.Encode(nil, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n"+
			text+"<|im_end|>\n<|im_start|>assistant\n", options))
	}
	return list
}

// Chats are answered as llama.cpp's own loop answers them, greedily: alone, alone with what the cache holds of those before, and
// 16 at a time, which come and go. SERVAL_CHATS is how many (5, one of each kind; .ci/run has 100, which
// take three minutes).
func TestChatsEqualLlama(t *testing.T) {
	n := 5
	if of := os.Getenv("SERVAL_CHATS"); of != "" {
		var err error
		if n, err = strconv.Atoi(of); err != nil {
			t.Fatal("SERVAL_CHATS: ", err)
		}
	}
	const limit = 12
	d := openKV(t, "streams", smol(t), &serval.TextSettings{Context: 512, Slots: 16})
	list := chats(d, n)
	want := make([][]int32, n)
	for i, p := range list {
		want[i] = reference(t, d, p, limit)
	}
	equal := func(how string, i int, a *answer) {
		if got := a.ids(); !slices.Equal(got, want[i]) {
			t.Errorf("%s, chat %d of %d tokens (%d cached): %v, llama.cpp says %v", how, i, len(list[i]), a.usage.Cached, got, want[i])
		}
	}
	cached := map[string]int64{}
	for _, how := range []string{"alone", "alone, with the cache"} {
		for i, p := range list {
			if how == "alone" {
				d.clearCache()
			}
			a := ask(greedy(p, limit))
			run(t, d, a)
			equal(how, i, a)
			cached[how] += a.usage.Cached
		}
	}
	for from := 0; from < n; from += 16 {
		d.clearCache()
		var answers []*answer
		for _, p := range list[from:min(from+16, n)] {
			answers = append(answers, ask(greedy(p, limit)))
		}
		run(t, d, answers...)
		for i, a := range answers {
			equal("16 at a time", from+i, a)
			cached["16 at a time"] += a.usage.Cached
		}
	}
	if cached["alone"] != 0 || cached["alone, with the cache"] < int64(10*n) || cached["16 at a time"] < int64(10*n) {
		t.Errorf("of %d chats the cache held %v tokens", n, cached)
	}
	t.Logf("of %d chats the cache held %v tokens", n, cached)
}
