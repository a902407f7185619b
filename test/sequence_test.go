package test

import (
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// stateful are models of schedule/testdata and how they are served.
var stateful = map[string]string{
	"accumulate": "sequence: {controls: [{input: START, kind: start}], states: [{input: STATE_IN, output: STATE_OUT}]}\n",
	"controls":   "sequence: {controls: [{input: START, kind: start}, {input: END, kind: end}, {input: READY, kind: ready}, {input: CORRID, kind: id}]}\n",
	"named":      "sequence: {controls: [{input: CORRID, kind: id}]}\n",
	"lookup":     "sequence: {states: [{input: sum, output: sum_next}]}\n",
}

// sequenceModels lays out the stateful models and the starter models.
func sequenceModels(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "models")
	lay := func(name, fixture, settings string) {
		copyFile(t, filepath.Join(testkit.Root(), "schedule", "testdata", fixture+".onnx"), filepath.Join(root, name, "1", "model.onnx"))
		write(t, filepath.Join(root, name, "model.yaml"), settings)
	}
	for name, settings := range stateful {
		lay(name, name, settings)
	}
	lay("brief", "accumulate", strings.Replace(stateful["accumulate"], "{controls", "{strategy: direct, max_sequences: 2, idle_timeout: 500ms, controls", 1))
	pull(t, root)
	return root
}

func TestSequences(t *testing.T) {
	t.Parallel()
	dir := sequenceModels(t)
	s := testkit.Serve(t, testkit.Options{Race: true, Models: dir})
	for _, file := range []string{"test_sequence.py", "test_vad.py"} {
		t.Run(file, func(t *testing.T) { pytestOn(t, s, dir, "triton", file) })
	}
	t.Run("serval predict", func(t *testing.T) {
		sound := filepath.Join(dir, "vad", "speech.wav")
		for _, args := range [][]string{{"--server", s.HTTP}, {"--local", "--models", dir, "--data", t.TempDir()}} {
			out, errs, code := testkit.Run(t.Context(), t, append([]string{"predict", "vad", sound, "-o", "csv"}, args...)...)
			// As silero-vad's own code says; see starter/vad/speech.py.
			if want := "start,end\n0.514,1.598\n2.466,3.838\n"; out != want || code != 0 {
				t.Errorf("%v: exit code %d, %q, %s\nwant %q", args, code, out, errs, want)
			}
		}
	})
}
