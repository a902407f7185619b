package requests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"serval"
)

func check(t testing.TB, endpoint, text string, most, longest int) *checker {
	c := &checker{endpoint: endpoint, most: most, longest: longest, known: func(r serval.Ref) error {
		if r.Name == "none" {
			return serval.Errorf(serval.NotFound, "no model 'none'")
		}
		return nil
	}}
	if err := c.read(t.Context(), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return c
}

const chats = "/v1/chat/completions"

func chat(id, model, system, user string) string {
	return fmt.Sprintf(`{"custom_id":%q,"method":"POST","url":%q,"body":{"model":%q,"messages":[{"role":"system","content":%q},{"role":"user","content":%q}]}}`, id, chats, model, system, user)
}

func TestCheck(t *testing.T) {
	good := chat("a", "m", "s", "u")
	for name, c := range map[string]struct {
		text, want string // "": nothing is wrong
		endpoint   string
	}{
		"good":                 {text: good + "\r\n\n" + chat("b", "m", "s", "u")},
		"mark":                 {text: "\ufeff" + good},
		"empty":                {text: " \n\n", want: "0 empty_file "},
		"json":                 {text: good + "\n{", want: "2 invalid_json_line "},
		"list":                 {text: "[1]", want: "1 invalid_json_line "},
		"bytes":                {text: "{\"custom_id\":\"\xff\"}", want: "1 invalid_json_line "},
		"no id":                {text: strings.Replace(good, `"custom_id":"a",`, "", 1), want: "1 missing_required_parameter custom_id"},
		"long id":              {text: chat(strings.Repeat("x", 600), "m", "", ""), want: "1 invalid_custom_id custom_id"},
		"same id":              {text: good + "\n\n" + good, want: "3 duplicate_custom_id custom_id"},
		"no method":            {text: strings.Replace(good, `"method":"POST",`, "", 1), want: "1 missing_required_parameter method"},
		"method":               {text: strings.Replace(good, `"POST"`, `"GET"`, 1), want: "1 invalid_method method"},
		"url":                  {text: strings.Replace(good, chats, "/v1/embeddings", 1), want: "1 invalid_url url"},
		"no url":               {text: strings.Replace(good, `"url":"`+chats+`",`, "", 1), want: "1 missing_required_parameter url"},
		"no body":              {text: `{"custom_id":"a","method":"POST","url":"` + chats + `"}`, want: "1 missing_required_parameter body"},
		"body":                 {text: `{"custom_id":"a","method":"POST","url":"` + chats + `","body":[]}`, want: "1 invalid_request body"},
		"stream":               {text: strings.Replace(good, `"model"`, `"stream":true,"model"`, 1), want: "1 invalid_request body.stream"},
		"background":           {text: strings.Replace(good, `"model"`, `"background":true,"model"`, 1), want: "1 invalid_request body.background"},
		"no model":             {text: strings.Replace(good, `"model":"m",`, "", 1), want: "1 missing_required_parameter body.model"},
		"other model":          {text: good + "\n" + chat("b", "none", "", ""), want: "2 model_not_found body.model"},
		"too large":            {text: chat("b", "m", strings.Repeat("x", 5000), "") + "\n" + good, want: "1 request_too_large "},
		"too many":             {text: good + "\n" + chat("b", "m", "", "") + "\n" + chat("c", "m", "", "") + "\n" + chat("d", "m", "", ""), want: "4 too_many_requests "},
		"all at once":          {text: "{\n" + good + "\n{", want: "1 invalid_json_line  3 invalid_json_line "},
		"tensors":              {text: `{"custom_id":"a","method":"POST","url":"/v2/models/iris/infer","body":{"inputs":[]}}`, endpoint: "/v2/models/iris/infer"},
		"background then null": {text: `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","background":true,"background":null}}`, want: "1 invalid_request body.background"},
		"stream then null":     {text: `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","stream":true,"Stream":null}}`, want: "1 invalid_request body.stream"},
		"stream then not":      {text: `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","stream":true,"stream":false,"background":null}}`, want: ""},
		"of none":              {text: `{"custom_id":"a","method":"POST","url":"/v2/models/none/infer","body":{"inputs":[]}}`, endpoint: "/v2/models/none/infer", want: "1 model_not_found body.model"},
	} {
		if c.endpoint == "" {
			c.endpoint = chats
		}
		got := []string{}
		for _, e := range check(t, c.endpoint, c.text, 3, 4096).errors {
			if e.Message == "" {
				t.Errorf("%s: an error without a word", name)
			}
			got = append(got, fmt.Sprint(e.Line, " ", e.Code, " ", e.Param))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for path, ok := range map[string]bool{
		chats: true, "/v1/embeddings": true, "/v1/responses": true, "/v1/completions": true, "/v1/rerank": true, "/v2/models/a/infer": true, "/v2/models/a/versions/3/infer": true,
		"": false, "/v1/files": false, "/v2/models//infer": false, "/v2/models/a/infer/": false, "/v2/models/a/generate": false, "/v1/chat/completions/": false, "/v2/models/a@/infer": false,
	} {
		if err := checkEndpoint(path); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestOrder: requests with a common beginning follow one another, models apart, and the order is always the same.
func TestOrder(t *testing.T) {
	long := [2]string{strings.Repeat("You are a shop. ", 40), strings.Repeat("You are a bank. ", 40)}
	var lines []string
	for i := range 40 {
		lines = append(lines, chat(fmt.Sprint(i), fmt.Sprint("m", i%2), long[i/2%2]+fmt.Sprint("Rules ", i/4%2, strings.Repeat(".", 100)), fmt.Sprint("Question ", i)))
	}
	text := strings.Join(lines, "\n")
	c := check(t, chats, text, 100, 1<<20)
	c.order()
	group := func(p place) string { i := int(p.line) - 1; return fmt.Sprint(i%2, i/2%2, i/4%2) }
	changes := 0
	for i := 1; i < len(c.places); i++ {
		if group(c.places[i]) != group(c.places[i-1]) {
			changes++
		} else if c.places[i].line < c.places[i-1].line && c.places[i].prints == c.places[i-1].prints {
			t.Error("equal requests have changed places")
		}
	}
	if changes != 7 || c.model != "*" {
		t.Errorf("8 groups of requests with a common beginning are parted into %d; model %q", changes+1, c.model)
	}
	again := check(t, chats, text, 100, 1<<20)
	again.order()
	if !slices.Equal(c.places, again.places) {
		t.Error("another order the second time")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(chat("a", "m", "s", "u")+"\n"+chat("b", "m", "s", "u"), chats)
	f.Add("{\n\xff\n{\"custom_id\":1}", "/v2/models/x/infer")
	f.Add(`{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":["a",{"role":1}]}}`, "/v1/embeddings")
	f.Fuzz(func(t *testing.T, text, endpoint string) {
		c := check(t, endpoint, text, 100, 1000)
		c.order()
		if len(c.places) == 0 && len(c.errors) == 0 {
			t.Error("nothing to do, and nothing wrong")
		}
		in := strings.NewReader(text)
		for i := range c.places {
			l, err := request(in, &c.places[i])
			if err != nil || *l.CustomID == "" {
				t.Errorf("line %d was good, and now: %v", c.places[i].line, err)
			}
		}
	})
}
