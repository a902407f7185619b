package main

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"serval/bench/bed"
)

const (
	model = "model" // by which clients ask for it
)

//go:embed openvino_front.py
var openvinoFront string

// server is a process that speaks OpenAI's chat on a loopback port. Whoever starts it stops it.
type server struct {
	contender
	address string
	bed.Process
}

// describe says how a contender is run; nothing is started. dir is for its files.
func describe(o *options, c contender, dir string) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }() // the port is free again for the server
	s := &server{contender: c, address: listener.Addr().String()}
	s.Name, s.LogFile, s.Health = c.name, filepath.Join(dir, c.name+".log"), "http://"+s.address+"/v2/models/"+model+"/ready"
	if c.peer || c.openvino {
		s.Health = "http://" + s.address + "/health"
	}
	file := o.gguf
	switch {
	case c.file != "":
		file = filepath.Join(o.files, c.file)
	case c.beside != "":
		file = filepath.Join(filepath.Dir(o.gguf), c.beside)
	}
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("%s: %w (setup.sh makes it)", c.name, err)
	}
	threads, slots := strconv.Itoa(o.threads), o.work.slots
	if c.peer {
		_, port, _ := strings.Cut(s.address, ":")
		s.Argv = []string{filepath.Join(o.build, "bin", "llama-server"), "--model", file, "--alias", model, "--host", "127.0.0.1", "--port", port,
			"--threads", threads, "--parallel", strconv.Itoa(slots), "--ctx-size", strconv.Itoa(slots * o.work.context), "--cont-batching", "--no-webui"}
		return s, nil
	}
	if c.openvino {
		_, port, _ := strings.Cut(s.address, ":")
		front := filepath.Join(dir, "openvino_front.py")
		if err := os.WriteFile(front, []byte(openvinoFront), 0o644); err != nil {
			return nil, err
		}
		s.Argv = []string{o.python, front, file, port, threads, strconv.Itoa(slots), strconv.Itoa(o.work.context)}
		return s, nil
	}
	home := filepath.Join(dir, c.name)
	folder := filepath.Join(home, "models", model)
	if err := os.MkdirAll(filepath.Join(folder, "1"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(file, filepath.Join(folder, "1", "model.gguf")); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("threads: %s\n%stext: {slots: %d, context: %d}\n", threads, c.settings, slots, o.work.context)
	if c.speculate != "" {
		settings = strings.Replace(settings, "}", ", speculate: "+c.speculate+"}", 1)
	}
	if err := os.WriteFile(filepath.Join(folder, "model.yaml"), []byte(settings), 0o644); err != nil {
		return nil, err
	}
	config := filepath.Join(home, "serval.yaml")
	if err := os.WriteFile(config, []byte("admin: 127.0.0.1:0\n"), 0o644); err != nil {
		return nil, err
	}
	s.Argv = []string{o.serval, "serve", "--config", config, "--models", filepath.Join(home, "models"), "--listen", s.address,
		"--grpc", "127.0.0.1:0", "--data", filepath.Join(home, "data")}
	if c.native {
		s.Argv = append(s.Argv, "--library", "llama="+filepath.Join(o.build, "bin", "libllama.so"))
	}
	return s, nil
}
