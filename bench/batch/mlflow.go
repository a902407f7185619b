package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// mlflow is `mlflow models predict` beside `serval batch run`, on one smaller file.
type mlflow struct {
	bin   string // of its environment
	model string // its folder
	in    string // a CSV file of the features alone
	rows  int64
}

// prepare makes the environment, the model and the file; nil where it is not asked for.
func (b *bench) prepare(ctx context.Context, dir, csv string) (*mlflow, error) {
	if b.mlflow == 0 {
		return nil, nil
	}
	setup := exec.CommandContext(ctx, "bench/batch/setup.sh")
	setup.Stderr = os.Stderr
	said, err := setup.Output()
	if err != nil {
		return nil, fmt.Errorf("bench/batch/setup.sh: %w; -mlflow 0 leaves it out, and the command is run in the repository's folder", err)
	}
	m := &mlflow{bin: filepath.Join(strings.TrimSpace(string(said)), "bin"), model: filepath.Join(dir, "mlflow"), in: filepath.Join(dir, "small.csv"), rows: min(b.mlflow, b.rows)}
	file, err := filepath.Abs(filepath.Join(b.model, b.file()))
	if err != nil {
		return nil, err
	}
	save := exec.CommandContext(ctx, filepath.Join(m.bin, "python"), "-W", "ignore", "bench/batch/save.py", file, m.model)
	save.Stderr = os.Stderr
	if err := save.Run(); err != nil {
		return nil, fmt.Errorf("bench/batch/save.py: %w", err)
	}
	return m, m.cut(csv)
}

// cut writes the first rows of the table without their ids.
func (m *mlflow) cut(csv string) error {
	from, err := os.Open(csv)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(m.in)
	if err != nil {
		return err
	}
	w, lines := bufio.NewWriterSize(to, 1<<20), bufio.NewScanner(from)
	for n := int64(0); n <= m.rows && lines.Scan(); n++ {
		_, rest, _ := bytes.Cut(lines.Bytes(), []byte(","))
		_, _ = w.Write(append(rest, '\n')) // Flush tells
	}
	return errors.Join(lines.Err(), w.Flush(), to.Close())
}

// predict runs it, from its start to its end.
func (m *mlflow) predict(ctx context.Context, out string) (t took, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(m.bin, "mlflow"), "models", "predict", "-m", m.model, "-i", m.in, "-t", "csv", "-o", out, "--env-manager", "local")
	cmd.Env = append(os.Environ(), "PATH="+m.bin+":"+os.Getenv("PATH"), "PYTHONWARNINGS=ignore")
	var said bytes.Buffer
	cmd.Stderr, cmd.Stdout = &said, &said
	busy, begun := cpuTime(syscall.RUSAGE_CHILDREN), time.Now()
	if err := cmd.Run(); err != nil {
		return t, fmt.Errorf("mlflow models predict: %w\n%s", err, said.String())
	}
	t = took{time.Since(begun).Seconds(), cpuTime(syscall.RUSAGE_CHILDREN) - busy}
	info, err := os.Stat(out)
	if err == nil && info.Size() < m.rows {
		err = fmt.Errorf("mlflow models predict wrote %d bytes for %d rows", info.Size(), m.rows)
	}
	return t, errors.Join(err, os.Remove(out))
}
