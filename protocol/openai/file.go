package openai

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"serval"
	"serval/protocol"
)

// fileObject is a file as clients see it.
type fileObject struct {
	ID      string  `json:"id"`
	Object  string  `json:"object"`
	Bytes   int64   `json:"bytes"`
	Created int64   `json:"created_at"`
	Expires *int64  `json:"expires_at"`
	Name    string  `json:"filename"`
	Purpose string  `json:"purpose"`
	Status  string  `json:"status"`
	Details *string `json:"status_details"`
}

func fileOf(f *protocol.File) *fileObject {
	return &fileObject{
		ID: f.ID, Object: "file", Bytes: f.Size, Created: f.Created.Unix(), Expires: seconds(f.Expires), Name: f.Name, Purpose: f.Purpose, Status: "processed",
	}
}

// seconds is a time as clients see it; nil: none.
func seconds(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	s := t.Unix()
	return &s
}

// purposes are those that an upload may have.
func purposes() []string {
	return []string{"batch", "user_data", "assistants", "fine-tune", "vision", "evals"}
}

// files is where they are kept, for the owner of the request's key.
func (p *Protocol) files(r *http.Request) (protocol.Files, string, error) {
	tenant, fail := p.backend.Tenant(protocol.Credential(r.Header))
	switch {
	case fail != nil:
		return nil, "", fail
	case p.backend.Files == nil:
		return nil, "", serval.Errorf(serval.Unimplemented, "this server keeps no files: its data folder cannot be used; its log says why")
	}
	return p.backend.Files, tenant, nil
}

// uploadPause is how long a client may be silent in the middle of an upload, which as a whole takes as long as it takes.
const uploadPause = time.Minute

// addFile is POST /v1/files. The parts of the form may come in any order; the file goes to the disk as it comes.
func (p *Protocol) addFile(w http.ResponseWriter, r *http.Request) error {
	files, tenant, err := p.files(r)
	if err != nil {
		return err
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return serval.Errorf(serval.InvalidArgument, "the request must be multipart/form-data with the fields file and purpose").At("file")
	}
	body := &patientBody{r: r.Body, control: http.NewResponseController(w)}
	defer body.done()
	f := &upload{form: multipart.NewReader(body, params["boundary"]), file: protocol.File{Tenant: tenant}}
	kept, err := files.AddFile(r.Context(), f.read)
	if err != nil {
		return err
	}
	return write(w, fileOf(kept))
}

// patientBody gives a client the same time again for each piece of a body.
type patientBody struct {
	r       io.Reader
	control *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(uploadPause)) // a writer of a test has none
	return b.r.Read(p)
}

func (b *patientBody) done() { _ = b.control.SetReadDeadline(time.Time{}) }

// upload is a form on its way.
type upload struct {
	form    *multipart.Reader
	file    protocol.File
	found   bool // the file
	purpose bool
	anchor  string
	seconds *int64
}

const (
	maxField    = 1 << 10 // bytes of a field that is not the file
	maxFields   = 16
	maxFileName = 255
)

// read reads the form, and the file into w.
func (u *upload) read(w io.Writer) (*protocol.File, error) {
	out := &noting{w: w}
	for n := 0; ; n++ {
		part, err := u.form.NextPart()
		if errors.Is(err, io.EOF) {
			return u.complete()
		}
		if err == nil && n == maxFields {
			err = serval.Errorf(serval.InvalidArgument, "the form has more than %d fields", maxFields)
		}
		if err == nil {
			err = u.part(out, part)
		}
		if err != nil {
			return nil, uploadError(err, out.err)
		}
	}
}

// noting remembers why nothing could be written.
type noting struct {
	w   io.Writer
	err error
}

func (n *noting) Write(p []byte) (int, error) {
	m, err := n.w.Write(p)
	if err != nil {
		n.err = err
	}
	return m, err
}

// uploadError says what is wrong with a form that ends early, or is none. disk is why the file could not be kept.
func uploadError(err, disk error) error {
	var own *serval.Error
	switch {
	case errors.As(err, &own):
		return own
	case disk != nil:
		return disk
	case errors.Is(err, os.ErrDeadlineExceeded):
		return serval.Errorf(serval.DeadlineExceeded, "nothing came of the file for %v; send it again", uploadPause).At("file").Because(err)
	}
	return serval.Errorf(serval.InvalidArgument, "the form ends before its last boundary, or is none; send it again").At("file").Because(err)
}

func (u *upload) part(w io.Writer, part *multipart.Part) error {
	defer part.Close()
	name := part.FormName()
	if name == "file" {
		if u.found {
			return serval.Errorf(serval.InvalidArgument, "the form has two files; send one at a time").At("file")
		}
		u.found, u.file.Name = true, cleanName(part.FileName())
		_, err := io.Copy(w, part)
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(part, maxField+1))
	if err != nil {
		return err
	}
	if len(raw) > maxField {
		return serval.Errorf(serval.InvalidArgument, "the field %.50q has more than %d bytes", name, maxField)
	}
	switch text := string(raw); name {
	case "purpose":
		u.purpose, u.file.Purpose = true, text
	case "expires_after[anchor]":
		u.anchor = text
	case "expires_after[seconds]":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return serval.Errorf(serval.InvalidArgument, "expires_after[seconds] must be a whole number, not %.50q", text).At("expires_after[seconds]")
		}
		u.seconds = &n
	}
	return nil
}

// cleanName is a file's name without folders and what no terminal should be shown.
func cleanName(name string) string {
	name = path.Base(strings.ReplaceAll(name, "\\", "/"))
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	for len(name) > maxFileName {
		r := []rune(name)
		name = string(r[:len(r)-1])
	}
	if name == "" || name == "." || name == "/" {
		return "file"
	}
	return name
}

// complete checks the form as a whole.
func (u *upload) complete() (*protocol.File, error) {
	switch {
	case !u.found:
		return nil, serval.Errorf(serval.InvalidArgument, "the form has no file; send it as the field 'file'").At("file")
	case !u.purpose:
		return nil, serval.Errorf(serval.InvalidArgument, "purpose is missing; it is one of %s", strings.Join(purposes(), ", ")).At("purpose")
	case !slices.Contains(purposes(), u.file.Purpose):
		return nil, serval.Errorf(serval.InvalidArgument, "purpose is %.50q; it must be one of %s", u.file.Purpose, strings.Join(purposes(), ", ")).At("purpose")
	case u.anchor != "" && u.anchor != "created_at":
		return nil, serval.Errorf(serval.InvalidArgument, "expires_after[anchor] is %.50q; it must be created_at", u.anchor).At("expires_after[anchor]")
	case (u.anchor == "") != (u.seconds == nil):
		return nil, serval.Errorf(serval.InvalidArgument, "expires_after needs both anchor (created_at) and seconds").At("expires_after")
	}
	if u.seconds != nil {
		if *u.seconds < leastExpiry || *u.seconds > mostExpiry {
			return nil, serval.Errorf(serval.InvalidArgument, "expires_after[seconds] is %d; it must be between %d (an hour) and %d (30 days)", *u.seconds, leastExpiry, mostExpiry).At("expires_after[seconds]")
		}
		u.file.Expires = time.Now().Add(time.Duration(*u.seconds) * time.Second)
	}
	return &u.file, nil
}

// Bounds of expires_after, in seconds.
const (
	leastExpiry = 3600
	mostExpiry  = 2592000
)

// getFile is GET /v1/files/{id}.
func (p *Protocol) getFile(w http.ResponseWriter, r *http.Request) error {
	files, tenant, err := p.files(r)
	if err != nil {
		return err
	}
	f, err := files.File(r.Context(), tenant, r.PathValue("id"))
	if err != nil {
		return err
	}
	return write(w, fileOf(f))
}

// fileContent is GET /v1/files/{id}/content. Ranges are taken, so that a download goes on where it stopped.
func (p *Protocol) fileContent(w http.ResponseWriter, r *http.Request) error {
	files, tenant, err := p.files(r)
	if err != nil {
		return err
	}
	f, content, err := files.OpenFile(r.Context(), tenant, r.PathValue("id"))
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", fmt.Sprintf("%q", f.ID))
	http.ServeContent(w, r, "", f.Created, content)
	return nil
}

// deleteFile is DELETE /v1/files/{id}.
func (p *Protocol) deleteFile(w http.ResponseWriter, r *http.Request) error {
	files, tenant, err := p.files(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := files.RemoveFile(r.Context(), tenant, id); err != nil {
		return err
	}
	return write(w, map[string]any{"id": id, "object": "file", "deleted": true})
}

// page is a part of a list.
type page struct {
	Object string  `json:"object"`
	Data   []any   `json:"data"`
	First  *string `json:"first_id"`
	Last   *string `json:"last_id"`
	More   bool    `json:"has_more"`
}

func (l *page) add(id string, o any) {
	l.Data = append(l.Data, o)
	if l.Last = &id; l.First == nil {
		l.First = &id
	}
}

// limitOf reads limit, which may be up to most.
func limitOf(r *http.Request, usual, most int) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, serval.Errorf(serval.InvalidArgument, "limit is %.50q; it must be between 1 and %d", text, most).At("limit")
	}
	return n, nil
}

// listFiles is GET /v1/files.
func (p *Protocol) listFiles(w http.ResponseWriter, r *http.Request) error {
	files, tenant, err := p.files(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := protocol.FileFilter{Tenant: tenant, Purpose: q.Get("purpose"), After: q.Get("after")}
	limit, err := limitOf(r, 10000, 10000)
	if err != nil {
		return err
	}
	switch q.Get("order") {
	case "asc":
		f.Ascending = true
	case "", "desc":
	default:
		return serval.Errorf(serval.InvalidArgument, "order is %.50q; it must be asc or desc", q.Get("order")).At("order")
	}
	f.Limit = limit + 1
	list, err := files.Files(r.Context(), f)
	if err != nil {
		return err
	}
	out := page{Object: "list", Data: []any{}, More: len(list) > limit}
	for _, f := range list[:min(limit, len(list))] {
		out.add(f.ID, fileOf(f))
	}
	return write(w, &out)
}
