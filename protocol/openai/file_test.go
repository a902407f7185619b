package openai

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"serval"
	"serval/protocol"
)

// form is a multipart body of fields in their order; a name that begins with @ is a file's.
func form(t testing.TB, fields ...string) string {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	if err := m.SetBoundary("b"); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		var w io.Writer
		var err error
		if name, file := strings.CutPrefix(fields[i], "@"); file {
			w, err = m.CreateFormFile("file", name)
		} else {
			w, err = m.CreateFormField(fields[i])
		}
		if err == nil {
			_, err = io.WriteString(w, fields[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = m.Close()
	return b.String()
}

func read(body string) (*protocol.File, string, error) {
	u := &upload{form: multipart.NewReader(strings.NewReader(body), "b"), file: protocol.File{Tenant: "a"}}
	var kept strings.Builder
	f, err := u.read(&kept)
	return f, kept.String(), err
}

func TestUpload(t *testing.T) {
	f, text, err := read(form(t, "@../a\\b.jsonl", "bytes", "expires_after[seconds]", "7200", "purpose", "batch", "expires_after[anchor]", "created_at", "other", "x"))
	if err != nil || f.Name != "b.jsonl" || f.Purpose != "batch" || f.Tenant != "a" || text != "bytes" || f.Expires.IsZero() {
		t.Errorf("%+v %q %v", f, text, err)
	}
	many := []string{"@x", "y"}
	for i := range 20 {
		many = append(many, fmt.Sprint("f", i), "")
	}
	for word, body := range map[string]string{
		"purpose is missing":  form(t, "@x", "y"),
		"purpose is \"cats\"": form(t, "@x", "y", "purpose", "cats"),
		"no file":             form(t, "purpose", "batch"),
		"two files":           form(t, "@x", "y", "@x", "y"),
		"more than 1024":      form(t, "purpose", strings.Repeat("x", 2000)),
		"more than 16 fields": form(t, many...),
		"whole number":        form(t, "expires_after[seconds]", "soon"),
		"needs both":          form(t, "@x", "y", "purpose", "batch", "expires_after[seconds]", "7200"),
		"must be created_at":  form(t, "@x", "y", "purpose", "batch", "expires_after[seconds]", "7200", "expires_after[anchor]", "now"),
		"between 3600":        form(t, "@x", "y", "purpose", "batch", "expires_after[seconds]", "1", "expires_after[anchor]", "created_at"),
		"last boundary":       strings.TrimSuffix(form(t, "@x", "y"), "--b--\r\n"),
		"or is none":          "--b\r\nContent-Disposition: \x00\r\n\r\n",
	} {
		if _, _, err := read(body); err == nil || serval.AsError(err).Code != serval.InvalidArgument || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func FuzzUpload(f *testing.F) {
	f.Add(form(f, "@x.txt", "y", "purpose", "batch"))
	f.Add(form(f, "purpose", "user_data", "@\xff\x00/", "", "expires_after[seconds]", "7200"))
	f.Add("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\"\r\n\r\n")
	f.Fuzz(func(t *testing.T, body string) {
		file, text, err := read(body)
		if err != nil {
			if c := serval.AsError(err).Code; c != serval.InvalidArgument {
				t.Errorf("%v: %v", c, err)
			}
			return
		}
		if len(text) > len(body) || file.Name == "" || len(file.Name) > maxFileName || !utf8.ValidString(file.Name) || strings.ContainsFunc(file.Name, func(r rune) bool { return !unicode.IsPrint(r) || r == '/' }) {
			t.Errorf("%+v", file)
		}
	})
}
