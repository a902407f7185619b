package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"
)

// Detect asks a server what a model of text can do, as Ollama's clients ask it (POST /api/show, which Serval answers, too).
// It returns "" where the server does not tell, or where the model is none of text; an error only says that url is wrong.
func Detect(ctx context.Context, url, key, model string) (API, error) {
	u, err := parseURL(url)
	if err != nil {
		return "", err
	}
	body := append(appendString([]byte(`{"model":`), model), '}')
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String()+"/api/show", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // the key stays here
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		return "", nil
	}
	defer resp.Body.Close()
	var told struct{ Capabilities []string }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&told) != nil {
		return "", nil
	}
	switch {
	case slices.Contains(told.Capabilities, "completion"):
		return Chat, nil
	case slices.Contains(told.Capabilities, "embedding"):
		return Embeddings, nil
	}
	return "", nil
}
