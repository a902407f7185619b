package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"serval/engine"
)

// edit changes a fixture's JSON; "@NaN@" becomes NaN.
func edit(t *testing.T, name string, change func(doc map[string]any)) []byte {
	t.Helper()
	raw := read(t, filepath.Join("testdata", name))
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	change(doc)
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(out, []byte(`"@NaN@"`), []byte("NaN"))
}

// in walks down a document by keys and indices.
func in(doc any, path ...any) map[string]any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			doc = doc.(map[string]any)[p]
		case int:
			doc = doc.([]any)[p]
		}
	}
	return doc.(map[string]any)
}

func xgbTree(doc map[string]any, i int) map[string]any {
	return in(doc, "learner", "gradient_booster", "model", "trees", i)
}

func put(list any, i int, v any) { list.([]any)[i] = v }

func TestHostileXGBoost(t *testing.T) {
	cases := []struct {
		name   string
		model  string
		change func(doc map[string]any)
		want   []string // all of them in the error
	}{
		{"cyclic children", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 2)["left_children"], 1, 0) }, []string{"tree 2", "node 1", "node 0"}},
		{"two parents", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 2)["left_children"], 0, 2) }, []string{"tree 2", "node 0", "node 2", "another way"}},
		{"child out of range", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 1)["right_children"], 0, 9999) }, []string{"tree 1", "node 0", "node 9999"}},
		{"missing child", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 1)["right_children"], 0, -1) }, []string{"tree 1", "node 0", "node -1"}},
		{"feature out of range", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 3)["split_indices"], 0, 6) }, []string{"tree 3", "node 0", "feature index 6", "6 features"}},
		{"negative feature", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 3)["split_indices"], 0, -2) }, []string{"tree 3", "node 0", "feature index -2"}},
		{"NaN threshold", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 0)["split_conditions"], 0, "@NaN@") }, []string{"tree 0", "node 0", "threshold is NaN"}},
		{"NaN leaf", "xgb_reg.json", func(d map[string]any) {
			for i := range xgbTree(d, 4)["split_conditions"].([]any) {
				put(xgbTree(d, 4)["split_conditions"], i, "@NaN@")
			}
		}, []string{"tree 4", "node", "NaN"}},
		{"2^31 nodes", "xgb_reg.json", func(d map[string]any) { in(xgbTree(d, 0), "tree_param")["num_nodes"] = "2147483648" }, []string{"trees[0].tree_param.num_nodes", "2147483647"}},
		{"more nodes than there are", "xgb_reg.json", func(d map[string]any) { in(xgbTree(d, 0), "tree_param")["num_nodes"] = "2147483647" }, []string{"tree 0", "num_nodes is 2147483647", "left_children has"}},
		{"a column is short", "xgb_reg.json", func(d map[string]any) { xgbTree(d, 5)["default_left"] = []any{1} }, []string{"tree 5", "default_left has 1"}},
		{"fraction as a child", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 0)["left_children"], 0, 1.5) }, []string{"trees[0].left_children[0]", "1.5"}},
		{"text as a threshold", "xgb_reg.json", func(d map[string]any) { put(xgbTree(d, 0)["split_conditions"], 0, "x") }, []string{"trees[0].split_conditions[0]", "text"}},
		{"group out of range", "xgb_multi_softprob.json", func(d map[string]any) { put(in(d, "learner", "gradient_booster", "model")["tree_info"], 1, 3) }, []string{"tree 1", "output 3", "3"}},
		{"rounds do not fit", "xgb_reg.json", func(d map[string]any) { put(in(d, "learner", "gradient_booster", "model")["iteration_indptr"], 6, 99) }, []string{"iteration_indptr"}},
		{"unknown objective", "xgb_reg.json", func(d map[string]any) { in(d, "learner", "objective")["name"] = "reg:magic" }, []string{"reg:magic", "reg:squarederror"}},
		{"no objective", "xgb_reg.json", func(d map[string]any) { delete(in(d, "learner"), "objective") }, []string{"learner.objective.name"}},
		{"no booster", "xgb_reg.json", func(d map[string]any) { delete(in(d, "learner"), "gradient_booster") }, []string{"gradient_booster"}},
		{"bad base_score", "xgb_reg.json", func(d map[string]any) { in(d, "learner", "learner_model_param")["base_score"] = "[1,x]" }, []string{"base_score"}},
		{"three base_scores", "xgb_reg.json", func(d map[string]any) { in(d, "learner", "learner_model_param")["base_score"] = "[1,2,3]" }, []string{"base_score has 3", "1 outputs"}},
		{"many classes", "xgb_reg.json", func(d map[string]any) { in(d, "learner", "learner_model_param")["num_class"] = "2000000000" }, []string{"num_class"}},
		{"no features", "xgb_reg.json", func(d map[string]any) { in(d, "learner", "learner_model_param")["num_feature"] = "0" }, []string{"num_feature"}},
		{"category out of range", "xgb_cat_onehot.json", func(d map[string]any) {
			for i := range 5 {
				if c := xgbTree(d, i)["categories"].([]any); len(c) > 0 {
					c[0] = 1 << 24
				}
			}
		}, []string{"tree", "node", "categories", "out of range"}},
		{"categories cut short", "xgb_cat_onehot.json", func(d map[string]any) {
			for i := range 5 {
				xgbTree(d, i)["categories"] = []any{}
			}
		}, []string{"tree", "node", "categories"}},
		{"dart with too many weights", "xgb_dart.json", func(d map[string]any) {
			in(d, "learner", "gradient_booster")["weight_drop"] = make([]float64, 99)
		}, []string{"weight_drop has 99"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := readXGBoost(newJSON(edit(t, c.model, c.change)))
			names(t, err, c.want)
		})
	}
}

// names fails unless an error has all the words.
func names(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was read without an error")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func TestHostileLightGBM(t *testing.T) {
	cases := []struct {
		name, model, old, new string
		want                  []string
	}{
		{"cyclic children", "lgb_binary.txt", "left_child=1", "left_child=0", []string{"tree 0", "split 0"}},
		{"child out of range", "lgb_binary.txt", "right_child=", "right_child=99 ", []string{"tree 0", "right_child has 7 entries"}},
		{"leaf out of range", "lgb_binary.txt", "left_child=1", "left_child=-99", []string{"tree 0", "split 0", "98"}},
		{"feature out of range", "lgb_binary.txt", "split_feature=", "split_feature=6 ", []string{"split_feature has 7 entries"}},
		{"features out of range", "lgb_binary.txt", "max_feature_idx=5", "max_feature_idx=0", []string{"feature index", "1 features"}},
		{"NaN threshold", "lgb_binary.txt", "threshold=", "threshold=nan ", []string{"threshold has 7 entries"}},
		{"2^31 leaves", "lgb_binary.txt", "num_leaves=7", "num_leaves=2147483648", []string{"tree 0", "num_leaves", "2147483647"}},
		{"more leaves than there are", "lgb_binary.txt", "num_leaves=7", "num_leaves=2147483647", []string{"tree 0", "leaf_value has 7"}},
		{"no leaves", "lgb_binary.txt", "num_leaves=7", "num_leaves=0", []string{"num_leaves"}},
		{"text as a number", "lgb_binary.txt", "leaf_value=", "leaf_value=x", []string{"leaf_value[0]", "x"}},
		{"twice", "lgb_binary.txt", "num_cat=0", "num_cat=0\nnum_cat=0", []string{"num_cat", "twice", "line"}},
		{"unknown objective", "lgb_binary.txt", "objective=binary", "objective=magic", []string{"magic", "lambdarank"}},
		{"sigmoid", "lgb_binary.txt", "sigmoid:0.7", "sigmoid:-1", []string{"sigmoid"}},
		{"no end", "lgb_binary.txt", "end of trees", "", []string{"cut short"}},
		{"a tree is gone", "lgb_binary.txt", "Tree=3", "Free=3", []string{"tree_sizes lists 6"}},
		{"no head", "lgb_binary.txt", "tree\n", "bush\n", []string{"tree"}},
		{"sets", "lgb_cat.txt", "cat_boundaries=0", "cat_boundaries=5", []string{"cat_boundaries"}},
		{"sets cut short", "lgb_cat.txt", "cat_threshold=", "cat_threshold=1 ", []string{"cat_threshold"}},
		{"no sets", "lgb_cat.txt", "num_cat=", "num_dog=", []string{"sets of categories"}},
		{"kind of missing", "lgb_binary.txt", "decision_type=", "decision_type=12 ", []string{"decision_type has 7"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			raw := string(read(t, filepath.Join("testdata", c.model)))
			if !strings.Contains(raw, c.old) {
				t.Fatalf("%s has no %q", c.model, c.old)
			}
			_, err := readLightGBM([]byte(strings.Replace(raw, c.old, c.new, 1)))
			names(t, err, c.want)
		})
	}
	raw := string(read(t, "testdata/lgb_binary.txt"))
	at := strings.Index(raw, "threshold=") + len("threshold=")
	end := at + strings.IndexByte(raw[at:], ' ')
	_, err := readLightGBM([]byte(raw[:at] + "nan" + raw[end:]))
	names(t, err, []string{"tree 0", "split 0", "NaN"})
}

func TestHostileCatBoost(t *testing.T) {
	tree := func(d map[string]any, i int) map[string]any { return in(d, "oblivious_trees", i) }
	cases := []struct {
		name   string
		model  string
		change func(doc map[string]any)
		want   []string
	}{
		{"feature out of range", "cat_logloss.json", func(d map[string]any) { in(tree(d, 1), "splits", 0)["float_feature_index"] = 5 }, []string{"tree 1", "split 0", "float_feature_index 5", "5 numeric features"}},
		{"NaN border", "cat_logloss.json", func(d map[string]any) { in(tree(d, 1), "splits", 0)["border"] = "@NaN@" }, []string{"oblivious_trees[1].splits[0]", "NaN"}},
		{"no border", "cat_logloss.json", func(d map[string]any) { delete(in(tree(d, 1), "splits", 0), "border") }, []string{"oblivious_trees[1].splits[0]", "border"}},
		{"leaves do not fit", "cat_logloss.json", func(d map[string]any) { tree(d, 2)["leaf_values"] = []any{1, 2, 3} }, []string{"oblivious_trees[2]", "3 leaf values"}},
		{"leaves of two sizes", "cat_logloss.json", func(d map[string]any) { tree(d, 2)["leaf_values"] = make([]int, 16) }, []string{"oblivious_trees[2]", "2 values"}},
		{"too deep", "cat_logloss.json", func(d map[string]any) {
			splits := tree(d, 0)["splits"].([]any)
			for len(splits) < 40 {
				splits = append(splits, splits[0])
			}
			tree(d, 0)["splits"] = splits
		}, []string{"oblivious_trees[0]", "40 levels"}},
		{"NaN leaf", "cat_logloss.json", func(d map[string]any) { put(tree(d, 3)["leaf_values"], 1, "@NaN@") }, []string{"tree 3", "leaf 1", "NaN"}},
		{"unknown split", "cat_logloss.json", func(d map[string]any) { in(tree(d, 1), "splits", 0)["split_type"] = "Magic" }, []string{"oblivious_trees[1].splits[0]", "Magic"}},
		{"unknown NaN treatment", "cat_logloss.json", func(d map[string]any) {
			in(d, "features_info", "float_features", 0)["nan_value_treatment"] = "Maybe"
		}, []string{"float_features[0]", "Maybe"}},
		{"a feature twice", "cat_logloss.json", func(d map[string]any) { in(d, "features_info", "float_features", 0)["feature_index"] = 1 }, []string{"float_features[1]", "feature_index"}},
		{"biases", "cat_logloss.json", func(d map[string]any) { d["scale_and_bias"] = []any{1, []any{1, 2, 3}} }, []string{"scale_and_bias has 3"}},
		{"classes", "cat_logloss.json", func(d map[string]any) { in(d, "model_info", "class_params")["class_names"] = []any{1, 2, 3} }, []string{"class_names has 3"}},
		{"no trees", "cat_logloss.json", func(d map[string]any) { delete(d, "oblivious_trees") }, []string{"oblivious_trees"}},
		{"half a node", "cat_depthwise.json", func(d map[string]any) { delete(in(d, "trees", 0), "left") }, []string{"trees[0]", "neither"}},
		{"leaf and split", "cat_depthwise.json", func(d map[string]any) { in(d, "trees", 0)["value"] = 1 }, []string{"trees[0]", "neither"}},
		{"category out of range", "cat_onehot.json", func(d map[string]any) {
			for i := range 12 {
				for _, s := range tree(d, i)["splits"].([]any) {
					if _, ok := s.(map[string]any)["cat_feature_index"]; ok {
						s.(map[string]any)["cat_feature_index"] = 7
					}
				}
			}
		}, []string{"tree", "split", "cat_feature_index 7"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := readCatBoost(edit(t, c.model, c.change))
			names(t, err, c.want)
		})
	}
}

// What is not served is refused by its name.
func TestRefused(t *testing.T) {
	for file, want := range map[string]string{
		"refused_gblinear.json": "gblinear", "refused_linear.txt": "linear_tree", "refused_ctr.json": "CTR",
	} {
		dir := folder(t, strings.TrimSuffix(strings.TrimSuffix(file, ".json"), ".txt"))
		_, err := New().Open(context.Background(), engine.Spec{Name: "m", Dir: dir})
		names(t, err, []string{want, "model 'm'"})
	}
}

// Every beginning of a document is refused, and none of them panics.
func TestTruncated(t *testing.T) {
	for _, c := range []struct {
		file string
		read func(b []byte) error
	}{
		{"xgb_cat_sets.ubj", func(b []byte) error { _, err := readXGBoost(newUBJ(b)); return err }},
		{"xgb_cat_onehot.json", func(b []byte) error { _, err := readXGBoost(newJSON(b)); return err }},
		{"lgb_cat.txt", func(b []byte) error { _, err := readLightGBM(b); return err }},
		{"cat_lossguide.json", func(b []byte) error { _, err := readCatBoost(b); return err }},
	} {
		raw := bytes.TrimSpace(read(t, filepath.Join("testdata", c.file)))
		whole := len(raw)
		if at := bytes.Index(raw, []byte("end of trees")); at > 0 {
			whole = at + len("end of trees")
		}
		for n := range whole {
			if err := c.read(raw[:n]); err == nil {
				t.Fatalf("%s: its first %d of %d bytes were read", c.file, n, len(raw))
			}
		}
		if err := c.read(raw); err != nil {
			t.Fatalf("%s: %v", c.file, err)
		}
	}
}

// Nothing is allocated by what a document declares.
func TestDeclaredSizes(t *testing.T) {
	huge := binary.BigEndian.AppendUint64(nil, math.MaxInt64)
	var docs [][]byte
	for _, head := range []string{"{L", "{L\x00\x00\x00\x00\x00\x00\x00\x01a[$d#L", "{L\x00\x00\x00\x00\x00\x00\x00\x01a[#L", "{L\x00\x00\x00\x00\x00\x00\x00\x01aSL", "[$Z#L", "{#L"} {
		docs = append(docs, append([]byte(head), huge...), append([]byte(head), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff))
	}
	deep := bytes.Repeat([]byte{'['}, 1<<20)
	deepIn := append([]byte(`{"a":`), deep...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, d := range docs {
		if _, err := readXGBoost(newUBJ(d)); err == nil {
			t.Errorf("%q was read", d)
		}
	}
	if _, err := readXGBoost(newUBJ(deep)); err == nil {
		t.Error("a million arrays in each other were read")
	}
	if _, err := readCatBoost(deepIn); err == nil {
		t.Error("a million arrays in each other were read")
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

// A folder's file is known by its content; what cannot be loaded is named with the way out.
func TestDetect(t *testing.T) {
	cases := []struct {
		file, content, want string
	}{
		{"model.cbm", "CBM1....", "format=\"json\""},
		{"model.bst", "binf....", "model.ubj"},
		{"model.model", "\x80\x04...", "pickle"},
		{"config.json", `{"a": 1}`, "no file"},
		{"readme.txt", "hello", "no file"},
		{"xgboost.json", string(read(t, "testdata/xgb_reg.json")), ""},
		{"model.bst", string(read(t, "testdata/xgb_reg_ubj.ubj")), ""},
		{"model.bst", string(read(t, "testdata/lgb_binary.txt")), ""},
		{"model", string(read(t, "testdata/cat_logloss.json")), ""},
	}
	for _, c := range cases {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		rank, err := New().Detect(os.DirFS(dir))
		if c.want == "" {
			if err != nil || rank != engine.Preferred {
				t.Errorf("%s: %v, %v", c.file, rank, err)
			}
			continue
		}
		names(t, err, []string{c.want})
	}
	dir := t.TempDir()
	for _, f := range []string{"a.json", "b.json"} {
		if err := os.WriteFile(filepath.Join(dir, f), read(t, "testdata/xgb_reg.json"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := New().Detect(os.DirFS(dir))
	names(t, err, []string{"a.json", "b.json", "2 models"})
}
