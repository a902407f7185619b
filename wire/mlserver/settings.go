package mlserver

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"serval"
)

const treeEngine = "tree"

// What MLServer's runtimes for trees call their outputs, and the tree engine its one.
const (
	predictOutput = "predict"
	probaOutput   = "predict_proba"
	treeOutput    = "output__0"
)

// usualFiles are the names under which a runtime looks for a model that parameters.uri does not name.
var usualFiles = map[string][]string{
	"mlserver_xgboost.XGBoostModel":   {"model.bst", "model.json", "model.ubj"},
	"mlserver_lightgbm.LightGBMModel": {"model.bst"},
	"mlserver_catboost.CatboostModel": {"model.cbm", "model.bin"},
}

// later says what will serve, or what to do, for MLServer's other runtimes.
var later = map[string]string{
	"mlserver_sklearn.SKLearnModel":              "the python engine of a later version loads scikit-learn's models; until then convert it to ONNX (skl2onnx) and remove this file",
	"mlserver_mlflow.MLflowRuntime":              "the python engine of a later version loads MLflow's models",
	"mlserver_huggingface.HuggingFaceRuntime":    "the python engine of a later version runs pipelines of Hugging Face",
	"mlserver_mllib.MLlibModel":                  "Spark's models are not served; convert it to ONNX",
	"mlserver_alibi_explain.AlibiExplainRuntime": "explanations come with a later version",
	"mlserver_alibi_detect.AlibiDetectRuntime":   "drift detection comes with a later version",
}

// Settings are what Serval does with a file that stands in the folder dir. source begins the lines of its error.
func (c *Config) Settings(dir, source string) (serval.ModelSettings, error) {
	r := &reader{c: c, dir: dir, source: source}
	files, ok := usualFiles[c.Implementation]
	if !ok {
		r.refuse()
		return serval.ModelSettings{}, r.err()
	}
	r.s.Engine = treeEngine
	r.s.Loose = true
	r.uri(files)
	r.batching()
	r.runtime()
	r.others()
	if len(r.errs) > 0 {
		return serval.ModelSettings{}, r.err()
	}
	return r.s, nil
}

type reader struct {
	c      *Config
	dir    string
	source string
	s      serval.ModelSettings
	path   string // of the artefact; "" if it was not found
	errs   []string
}

func (r *reader) err() error {
	return serval.Errorf(serval.InvalidArgument, "%s", strings.Join(r.errs, "\n"))
}

func (r *reader) fail(field, format string, args ...any) {
	r.errs = append(r.errs, fmt.Sprintf("%s: %s: %s", r.source, field, fmt.Sprintf(format, args...)))
}

func (r *reader) note(field, format string, args ...any) {
	r.s.Notes = append(r.s.Notes, field+": "+fmt.Sprintf(format, args...))
}

// refuse says why a runtime is not served.
func (r *reader) refuse() {
	const served = "served are mlserver_xgboost.XGBoostModel and mlserver_lightgbm.LightGBMModel (engine tree)"
	switch why, known := later[r.c.Implementation]; {
	case r.c.Implementation == "":
		r.fail("implementation", "is missing; %s", served)
	case known:
		r.fail("implementation", "%s: engine not built in; %s; %s", r.c.Implementation, served, why)
	default:
		r.fail("implementation", "%s: engine not built in; %s; runtimes of one's own run in the python engine of a later version", r.c.Implementation, served)
	}
}

// uri finds the artefact: a file, or a folder with one under a usual name.
func (r *reader) uri(files []string) {
	const at = "parameters.uri"
	uri := strings.TrimPrefix(r.c.Parameters.URI, "file://")
	if strings.Contains(uri, "://") {
		r.fail(at, "%q must be a path: fetch the model into its folder before the server starts", uri)
		return
	}
	if filepath.IsAbs(uri) {
		abs, err := filepath.Abs(r.dir)
		if err != nil {
			r.fail(at, "%v", err)
			return
		}
		if uri, err = filepath.Rel(abs, uri); err != nil {
			uri = ".."
		}
	}
	if uri = filepath.Clean(uri); !filepath.IsLocal(uri) {
		r.fail(at, "%q leads out of the model's folder; move the model there", r.c.Parameters.URI)
		return
	}
	info, err := os.Stat(filepath.Join(r.dir, uri))
	switch {
	case err != nil:
		r.fail(at, "%q is not there; it is relative to the folder of this file", r.c.Parameters.URI)
		return
	case !info.IsDir():
		r.s.File = uri
	default:
		for _, name := range files {
			file := filepath.Join(uri, name)
			if info, err := os.Stat(filepath.Join(r.dir, file)); err == nil && !info.IsDir() {
				r.s.File = file
				break
			}
		}
		if r.s.File == "" {
			r.fail(at, "names no file, and the folder has none of the usual names %s", strings.Join(files, ", "))
			return
		}
	}
	r.path = filepath.Join(r.dir, r.s.File)
}

// batching reads MLServer's adaptive batching, which needs both fields.
func (r *reader) batching() {
	n, seconds := r.c.MaxBatchSize, r.c.MaxBatchTime
	if n < 0 || n > math.MaxInt32 {
		r.fail("max_batch_size", "must be 0 to %d, is %d", math.MaxInt32, n)
	}
	if seconds < 0 || seconds > 3600 {
		r.fail("max_batch_time", "must be 0 to 3600 seconds, is %g", seconds)
	}
	if n > 1 && seconds > 0 {
		r.s.Batching.Max, r.s.Batching.MaxDelay = n, time.Duration(seconds*float64(time.Second))
	}
}

// runtime names what clients see as the runtime does.
func (r *reader) runtime() {
	if len(r.c.Inputs) == 1 && r.c.Inputs[0].Name != "" {
		r.s.Inputs = []serval.TensorSettings{{Name: r.c.Inputs[0].Name, Source: "input__0"}}
	}
	predict := serval.TensorSettings{Name: predictOutput, Source: treeOutput}
	r.s.Outputs = []serval.TensorSettings{predict}
	switch {
	case r.c.Implementation == "mlserver_lightgbm.LightGBMModel": // NumPy's doubles go in and come out
		r.s.Options = map[string]string{"input": "fp64", "output_type": "fp64"}
	case r.c.Implementation == "mlserver_xgboost.XGBoostModel" && classifier(r.path):
		predict.Class = true
		r.s.Options = map[string]string{"output": "probability"}
		r.s.Outputs = []serval.TensorSettings{predict, {Name: probaOutput, Source: treeOutput, OnRequest: true}}
	}
}

// classifierMark is how scikit-learn's interface of XGBoost notes in a file, JSON or UBJ, that it saved a classifier.
var classifierMark = regexp.MustCompile(`_estimator_type[\\": ]{1,16}classifier`)

// classifier says whether an XGBoost model was saved as a classifier; MLServer then answers classes.
func classifier(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	const block, overlap = 1 << 20, 64
	buf := make([]byte, 0, block+overlap)
	for {
		n, err := io.ReadFull(f, buf[len(buf):len(buf)+block])
		buf = buf[:len(buf)+n]
		if classifierMark.Match(buf) {
			return true
		}
		if err != nil {
			return false
		}
		buf = append(buf[:0], buf[len(buf)-overlap:]...)
	}
}

// others reads what changes nothing, and says so where one could think otherwise.
func (r *reader) others() {
	c, p := r.c, &r.c.Parameters
	if r.s.Version = p.Version; r.s.Version == "" {
		r.s.Version = "1"
	}
	if c.Workers != nil {
		r.note("parallel_workers", "instances are threads here, and as many as the cores; set instances in serval.yaml")
	}
	if c.CacheEnabled {
		r.note("cache_enabled", "answers are not cached by this version")
	}
	if p.EnvironmentPath != "" || p.EnvironmentTarball != "" {
		r.note("parameters.environment_path and environment_tarball", "the engine needs no Python")
	}
	if len(p.Extra) > 0 {
		r.note("parameters.extra", "the runtime does not read it")
	}
	for _, key := range c.unknown {
		r.note(key, "is not known, to MLServer neither")
	}
}
