package dialog

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// errInterrupted is a line that Ctrl-C ended.
var errInterrupted = errors.New("interrupted")

const (
	mostAhead = 64 << 10 // bytes that are kept of what is typed while nobody reads
	mostLine  = 4096     // characters of a line; golang.org/x/term drops what is typed behind
	mostKept  = 64       // pastes whose placeholders are known

	ctrlC = 3
	// What ends a line as if nothing stood in it: to its end, delete to its start, enter.
	dropLine = "\x05\x15\r"
)

// keyboard is what is typed into a raw terminal: lines, Ctrl-C at any time, and pasted texts apart from keys. One goroutine
// reads the terminal for as long as the process lives, since nothing ends such a read.
type keyboard struct {
	editor *term.Terminal
	size   func() (width, height int, err error)

	mu      sync.Mutex
	changed sync.Cond
	keys    []byte // for the editor
	editing bool   // a line is being read
	dropped bool   // Ctrl-C ended it
	stop    func() // ends what is under way; nil: nothing is
	failed  error  // nothing comes any more
	paster  paster
	pastes  map[string]string // by placeholder
	order   []string          // of pastes, oldest first
	count   int               // of all pastes
	notes   []string          // for the user
}

// newKeyboard reads in, a raw terminal, and edits lines on out.
func newKeyboard(in io.Reader, out io.Writer, size func() (int, int, error)) *keyboard {
	k := &keyboard{size: size, pastes: map[string]string{}}
	k.changed.L = &k.mu
	k.editor = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{k, out}, "")
	k.editor.History = &history{}
	k.editor.AutoCompleteCallback = complete
	go k.pump(in) // until the process ends, see above
	return k
}

func (k *keyboard) pump(in io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		k.mu.Lock()
		k.paster.feed(buf[:n], k.key, k.pasted)
		k.mu.Unlock()
		k.changed.Broadcast()
		if err != nil {
			k.quit(err)
			return
		}
	}
}

// key takes a byte that was typed. k.mu is held.
func (k *keyboard) key(c byte) {
	switch {
	case c == ctrlC:
		k.interruptLocked()
	case len(k.keys) < mostAhead:
		k.keys = append(k.keys, c)
	}
}

// pasted takes a text that was pasted. k.mu is held.
func (k *keyboard) pasted(text string, cut bool) {
	if cut {
		k.notes = append(k.notes, fmt.Sprintf("what was pasted has more than %d bytes and was left out; give it in a file", mostPaste))
		return
	}
	text = strings.TrimRight(text, "\n")
	name := placeholder(text, k.count+1)
	if name == "" {
		k.keys = append(k.keys, text...)
		return
	}
	k.count++
	k.pastes[name] = text
	if k.order = append(k.order, name); len(k.order) > mostKept {
		delete(k.pastes, k.order[0])
		k.order = k.order[1:]
	}
	k.keys = append(k.keys, name...)
}

// interrupt is Ctrl-C, however it came: it ends the answer under way, or drops the line.
func (k *keyboard) interrupt() {
	k.mu.Lock()
	k.interruptLocked()
	k.mu.Unlock()
	k.changed.Broadcast()
}

func (k *keyboard) interruptLocked() {
	k.keys = k.keys[:0]
	switch {
	case k.stop != nil:
		k.stop()
	case k.editing && !k.dropped:
		k.dropped = true
		k.keys = append(k.keys, dropLine...)
	}
}

// quit ends everything: no line is read any more, and what is under way ends.
func (k *keyboard) quit(err error) {
	k.mu.Lock()
	if k.failed == nil {
		k.failed = err
	}
	if k.stop != nil {
		k.stop()
	}
	k.mu.Unlock()
	k.changed.Broadcast()
}

// during runs f, which stop ends when Ctrl-C is pressed.
func (k *keyboard) during(stop func(), f func()) {
	k.mu.Lock()
	k.stop = stop
	if k.failed != nil {
		stop()
	}
	k.mu.Unlock()
	f()
	k.mu.Lock()
	k.stop = nil
	k.mu.Unlock()
}

// Read is the editor's.
func (k *keyboard) Read(p []byte) (int, error) {
	if len(p) == 0 { // the editor waits for the end of a key that no terminal has
		return 0, errors.New("the terminal sends keys that are not understood")
	}
	if k.size != nil {
		if w, h, err := k.size(); err == nil && w > 0 && h > 0 { // a terminal may not know its size: then it is taken as 80 by 24
			_ = k.editor.SetSize(w, h) // it writes to the terminal, whose failure the next write shows
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.keys) == 0 {
		if k.failed != nil {
			return 0, k.failed
		}
		k.changed.Wait()
	}
	n := copy(p, k.keys)
	k.keys = append(k.keys[:0], k.keys[n:]...)
	return n, nil
}

// line reads a line. The end is io.EOF, Ctrl-C errInterrupted.
func (k *keyboard) line(prompt string) (string, error) {
	k.mu.Lock()
	k.editing, k.dropped = true, false
	k.mu.Unlock()
	k.editor.SetPrompt(prompt)
	line, err := k.editor.ReadLine()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.editing = false
	switch {
	case err != nil:
		return "", err
	case k.dropped:
		return "", errInterrupted
	case utf8.RuneCountInString(line) >= mostLine:
		return "", fmt.Errorf("a typed line has at most %d characters, and what was typed behind is not there: paste it in one piece, or write several lines between \"\"\" and \"\"\"", mostLine-1)
	}
	for _, name := range k.order {
		line = strings.ReplaceAll(line, name, k.pastes[name])
	}
	return line, nil
}

// said are notes for the user, each once.
func (k *keyboard) said() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	notes := k.notes
	k.notes = nil
	return notes
}

// history are the lines that the up key brings back.
type history struct{ lines []string } // oldest first

const mostHistory = 500

// Add keeps a line, unless it is empty or the same as the last.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	if h.lines = append(h.lines, line); len(h.lines) > mostHistory {
		h.lines = h.lines[1:]
	}
}

// Len is how many there are.
func (h *history) Len() int { return len(h.lines) }

// At is the one so many before the last.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
