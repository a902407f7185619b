package testkit

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Columns is how many features a Small takes, as FP32 of shape [-1, Columns].
const Columns = 16

// Small is one of a fleet of small models, each of which answers otherwise. All its numbers are small multiples of powers of
// two, so that its answers are exact in FP32 in whatever order they are summed up.
type Small struct {
	Name   string
	Kind   string // onnx, xgboost or lightgbm
	Input  string
	Output string
	n      int
}

// Fleet writes n small models below dir, half of them ONNX networks (16×64×1), a quarter each XGBoost and LightGBM trees
// (20 trees of 8 leaves), and returns them. The same n gives the same models.
func Fleet(dir string, n int) ([]Small, error) {
	kinds := []string{"onnx", "xgboost", "onnx", "lightgbm"}
	list := make([]Small, n)
	for i := range list {
		s := Small{Name: fmt.Sprintf("small-%04d", i), Kind: kinds[i%len(kinds)], Input: "input__0", Output: "output__0", n: i}
		file, artefact := "", []byte(nil)
		switch s.Kind {
		case "onnx":
			s.Input, s.Output = "x", "y"
			file, artefact = "model.onnx", s.network()
		case "xgboost":
			file, artefact = "model.json", s.xgboost()
		case "lightgbm":
			file, artefact = "model.txt", s.lightgbm()
		}
		at := filepath.Join(dir, s.Name, "1")
		if err := os.MkdirAll(at, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(at, file), artefact, 0o644); err != nil {
			return nil, err
		}
		list[i] = s
	}
	return list, nil
}

// Row is a row of whole numbers from -4 to 4, another for each seed.
func Row(seed int) []float32 {
	row := make([]float32, Columns)
	for k := range row {
		row[k] = float32((seed*7+k*5+seed*k)%9 - 4)
	}
	return row
}

// Request is an infer request of the Open Inference Protocol for one row.
func (s Small) Request(row []float32) string {
	values := make([]string, len(row))
	for k, v := range row {
		values[k] = fmt.Sprint(v)
	}
	return fmt.Sprintf(`{"inputs":[{"name":%q,"shape":[1,%d],"datatype":"FP32","data":[%s]}]}`, s.Input, len(row), strings.Join(values, ","))
}

// Answer is what the model must say to a row of whole numbers.
func (s Small) Answer(row []float32) float32 {
	if s.Kind == "onnx" {
		return s.forward(row)
	}
	sum := float32(0)
	for t := range smallTrees {
		at := 0
		for range smallDepth {
			feature, threshold := s.split(t, at)
			at = 2*at + 1
			if float64(row[feature]) > threshold {
				at++
			}
		}
		sum += s.leaf(t, at-smallLeaves+1)
	}
	return sum
}

const (
	smallHidden = 64
	smallTrees  = 20
	smallDepth  = 3
	smallLeaves = 1 << smallDepth
)

// The weights of the network: from feature k to hidden unit j, and what each unit adds.
func (s Small) weight(k, j int) float32 { return float32((s.n+3*k+5*j+k*j)%9-4) / 4 }
func (s Small) bias(j int) float32      { return float32((s.n+j)%5-2) / 2 }
func (s Small) out(j int) float32       { return float32((s.n*3+j)%7-3) / 4 }

// The trees are whole: node i's children are 2i+1, which small values go to, and 2i+2. No whole number is a threshold.
func (s Small) split(t, node int) (feature int, threshold float64) {
	return (s.n + 3*t + 5*node) % Columns, float64((s.n+t+node)%7-3) - 0.5
}
func (s Small) leaf(t, i int) float32 { return float32((s.n*7+t*3+i*5)%33-16) / 8 }

func (s Small) forward(row []float32) float32 {
	sum := float32(s.n)
	for j := range smallHidden {
		h := s.bias(j)
		for k := range row {
			h += row[k] * s.weight(k, j)
		}
		sum += max(h, 0) * s.out(j)
	}
	return sum
}

// protobuf is a message that is being written.
type protobuf []byte

func (m protobuf) number(field int, v uint64) protobuf {
	return binary.AppendUvarint(binary.AppendUvarint(m, uint64(field)<<3), v)
}

func (m protobuf) bytes(field int, b []byte) protobuf {
	m = binary.AppendUvarint(binary.AppendUvarint(m, uint64(field)<<3|2), uint64(len(b)))
	return append(m, b...)
}

func (m protobuf) text(field int, s string) protobuf { return m.bytes(field, []byte(s)) }

// network is the ONNX model Relu(x·w + b)·v + c.
func (s Small) network() []byte {
	constant := func(name string, rows, columns int, at func(k, j int) float32) protobuf {
		var raw []byte
		for k := range rows {
			for j := range columns {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(at(k, j)))
			}
		}
		return protobuf(nil).number(1, uint64(rows)).number(1, uint64(columns)).number(2, 1).text(8, name).bytes(9, raw)
	}
	typed := func(name string, columns uint64) protobuf {
		shape := protobuf(nil).bytes(1, protobuf(nil).text(2, "n")).bytes(1, protobuf(nil).number(1, columns))
		return protobuf(nil).text(1, name).bytes(2, protobuf(nil).bytes(1, protobuf(nil).number(1, 1).bytes(2, shape)))
	}
	node := func(op, output string, inputs ...string) protobuf {
		var m protobuf
		for _, in := range inputs {
			m = m.text(1, in)
		}
		return m.text(2, output).text(4, op)
	}
	graph := protobuf(nil).
		bytes(1, node("MatMul", "xw", "x", "w")).bytes(1, node("Add", "h", "xw", "b")).bytes(1, node("Relu", "r", "h")).
		bytes(1, node("MatMul", "rv", "r", "v")).bytes(1, node("Add", "y", "rv", "c")).
		text(2, s.Name).
		bytes(5, constant("w", Columns, smallHidden, s.weight)).
		bytes(5, constant("b", 1, smallHidden, func(_, j int) float32 { return s.bias(j) })).
		bytes(5, constant("v", smallHidden, 1, func(j, _ int) float32 { return s.out(j) })).
		bytes(5, constant("c", 1, 1, func(_, _ int) float32 { return float32(s.n) })).
		bytes(11, typed("x", Columns)).bytes(12, typed("y", 1))
	return protobuf(nil).number(1, 10).bytes(8, protobuf(nil).number(2, 21)).bytes(7, graph)
}

// xgboost is the trees as XGBoost 3 writes them.
func (s Small) xgboost() []byte {
	type object = map[string]any
	var trees []object
	for t := range smallTrees {
		var left, right, parents, kinds, features, missing []int
		var conditions []float64
		for i := range 2*smallLeaves - 1 {
			l, r, feature, condition := -1, -1, 0, 0.0
			if i < smallLeaves-1 {
				l, r = 2*i+1, 2*i+2
				feature, condition = s.split(t, i)
			} else {
				condition = float64(s.leaf(t, i-smallLeaves+1))
			}
			left, right, features, conditions = append(left, l), append(right, r), append(features, feature), append(conditions, condition)
			parent := (i - 1) / 2
			if i == 0 {
				parent = math.MaxInt32
			}
			parents, kinds, missing = append(parents, parent), append(kinds, 0), append(missing, 0)
		}
		trees = append(trees, object{
			"id": t, "left_children": left, "right_children": right, "parents": parents, "split_type": kinds, "split_indices": features,
			"split_conditions": conditions, "base_weights": conditions, "default_left": missing, "loss_changes": make([]float64, len(left)), "sum_hessian": make([]float64, len(left)),
			"categories": []int{}, "categories_nodes": []int{}, "categories_segments": []int{}, "categories_sizes": []int{},
			"tree_param": object{"num_deleted": "0", "num_feature": fmt.Sprint(Columns), "num_nodes": fmt.Sprint(len(left)), "size_leaf_vector": "1"},
		})
	}
	booster := object{"name": "gbtree", "model": object{
		"gbtree_model_param": object{"num_parallel_tree": "1", "num_trees": fmt.Sprint(smallTrees)}, "tree_info": make([]int, smallTrees), "trees": trees,
	}}
	model := object{"version": []int{3, 2, 0}, "learner": object{
		"attributes": object{}, "feature_names": []string{}, "feature_types": []string{}, "gradient_booster": booster,
		"learner_model_param": object{"base_score": "[0E0]", "boost_from_average": "1", "num_class": "0", "num_feature": fmt.Sprint(Columns), "num_target": "1"},
		"objective":           object{"name": "reg:squarederror", "reg_loss_param": object{"scale_pos_weight": "1"}},
	}}
	raw, err := json.Marshal(model)
	if err != nil { // of maps, strings and finite numbers: it cannot fail
		panic(err)
	}
	return raw
}

// lightgbm is the trees as LightGBM 4 writes them: leaves are numbered apart and stand as -1-number.
func (s Small) lightgbm() []byte {
	names, infos := make([]string, Columns), make([]string, Columns)
	for k := range names {
		names[k], infos[k] = fmt.Sprintf("Column_%d", k), "[-4:4]"
	}
	var body strings.Builder
	var sizes []string
	for t := range smallTrees {
		var features, thresholds, decisions, left, right, leaves []string
		child := func(i int) string {
			if i < smallLeaves-1 {
				return fmt.Sprint(i)
			}
			return fmt.Sprint(-1 - (i - smallLeaves + 1))
		}
		for i := range smallLeaves - 1 {
			feature, threshold := s.split(t, i)
			features, thresholds, decisions = append(features, fmt.Sprint(feature)), append(thresholds, fmt.Sprint(threshold)), append(decisions, "8")
			left, right = append(left, child(2*i+1)), append(right, child(2*i+2))
		}
		for i := range smallLeaves {
			leaves = append(leaves, fmt.Sprint(s.leaf(t, i)))
		}
		text := fmt.Sprintf("Tree=%d\nnum_leaves=%d\nnum_cat=0\nsplit_feature=%s\nthreshold=%s\ndecision_type=%s\nleft_child=%s\nright_child=%s\nleaf_value=%s\nis_linear=0\nshrinkage=1\n\n\n",
			t, smallLeaves, strings.Join(features, " "), strings.Join(thresholds, " "), strings.Join(decisions, " "),
			strings.Join(left, " "), strings.Join(right, " "), strings.Join(leaves, " "))
		sizes = append(sizes, fmt.Sprint(len(text)))
		body.WriteString(text)
	}
	return fmt.Appendf(nil, "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=%d\nobjective=regression\nfeature_names=%s\nfeature_infos=%s\ntree_sizes=%s\n\n%send of trees\n\nfeature_importances:\n\n\npandas_categorical:null\n",
		Columns-1, strings.Join(names, " "), strings.Join(infos, " "), strings.Join(sizes, " "), body.String())
}
