package source

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// quantWord finds the names of quantisations in a file's name: Q4_K_M, IQ2_XXS, UD-Q4_K_XL, BF16, MXFP4_MOE, …
var quantWord = regexp.MustCompile(`(?i)(?:^|[-_.])((?:ud[-_])?(?:i?q[1-8]|tq[12])(?:_(?:0|1|k|xxs|xs|s|m|l|xl|nl|[48]_[48]))*|mxfp4(?:_moe)?|nvfp4|bf16|fp?16|fp?32)(?:$|[-_.])`)

// usualQuants are taken in this order where none is asked for: the best of what is small, then what is larger, then what is worse.
var usualQuants = []string{"Q4_K_M", "Q4_K_S", "UD-Q4_K_XL", "Q4_K_L", "IQ4_XS", "IQ4_NL", "Q4_1", "Q4_0", "MXFP4_MOE", "MXFP4", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q6_K",
	"Q8_0", "BF16", "F16", "Q3_K_L", "Q3_K_M", "Q3_K_S", "F32"}

// group is a GGUF model of a repository: a file, or all parts of a split one in order.
type group struct {
	quant   string // in capitals; "" = its name says none
	files   []string
	missing string // a part that the repository lacks; ""
}

// groups finds the GGUF models among the names. What helps a model (its projector of images, its importance matrix) is none.
func groups(names []string) []group {
	has := map[string]bool{}
	for _, n := range names {
		has[n] = true
	}
	var out []group
	for _, n := range names {
		base := path.Base(n)
		low := strings.ToLower(base)
		if !strings.HasSuffix(low, ".gguf") || strings.HasPrefix(low, "mmproj") || strings.Contains(low, "-mmproj") || strings.Contains(low, "imatrix") {
			continue
		}
		if m := partName.FindStringSubmatch(base); m != nil && m[2] != "00001" {
			continue
		}
		all, err := parts(n)
		if err != nil {
			continue
		}
		g := group{quant: quantOf(n), files: all}
		for _, p := range all {
			if !has[p] && g.missing == "" {
				g.missing = p
			}
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b group) int { return strings.Compare(a.files[0], b.files[0]) })
	return out
}

// quantOf is the quantisation that a file's name tells, or else its folder's.
func quantOf(name string) string {
	base := path.Base(name)
	if m := partName.FindStringSubmatch(base); m != nil {
		base = m[1]
	} else {
		base = base[:len(base)-len(path.Ext(base))]
	}
	for _, word := range []string{base, path.Base(path.Dir(name))} {
		found := ""
		for at := 0; at < len(word); { // words may share the sign between them
			m := quantWord.FindStringSubmatchIndex(word[at:])
			if m == nil {
				break
			}
			found = word[at+m[2] : at+m[3]]
			at += m[3]
		}
		if found != "" {
			return canonical(found)
		}
	}
	return ""
}

// canonical makes spellings of one quantisation equal.
func canonical(q string) string {
	q = strings.ToUpper(q)
	q = strings.Replace(q, "UD_", "UD-", 1)
	switch q {
	case "FP16":
		return "F16"
	case "FP32":
		return "F32"
	}
	return q
}

// pickQuant picks the model of the asked quantisation, or the best of the usual ones.
func pickQuant(all []group, asked string) (group, string, error) {
	find := func(quant string) []group {
		var out []group
		for _, g := range all {
			if g.quant == quant {
				out = append(out, g)
			}
		}
		return out
	}
	if asked != "" {
		found := find(canonical(asked))
		switch len(found) {
		case 1:
			return found[0], "", nil
		case 0:
			return group{}, "", fmt.Errorf("has no %s; it has %s", asked, quants(all))
		}
		return group{}, "", fmt.Errorf("has %d models of %s; name the file, as in hf:org/repo/%s", len(found), asked, found[len(found)-1].files[0])
	}
	if len(all) == 1 {
		return all[0], "", nil
	}
	for _, q := range usualQuants {
		if found := find(q); len(found) == 1 {
			return found[0], fmt.Sprintf("taking %s; there are %s", q, quants(all)), nil
		} else if len(found) > 1 {
			return group{}, "", fmt.Errorf("has %d models of %s; name the file, as in hf:org/repo/%s; it has %s", len(found), q, found[0].files[0], quants(all))
		}
	}
	return group{}, "", fmt.Errorf("has none of the usual quantisations; name one, as in hf:org/repo:QUANT; it has %s", quants(all))
}

// quants lists what there is to pick from.
func quants(all []group) string {
	var out []string
	for _, g := range all {
		if g.quant == "" || slices.Contains(out, g.quant) {
			out = append(out, g.files[0])
		} else {
			out = append(out, g.quant)
		}
	}
	return few(out)
}

// pickONNX picks the one ONNX model, that of the asked variant (model_int8.onnx), or model.onnx.
func pickONNX(names []string, asked string) (string, error) {
	var all, found []string
	for _, n := range names {
		if strings.HasSuffix(strings.ToLower(n), ".onnx") {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return "", errNoModel
	}
	for _, n := range all {
		stem := strings.TrimSuffix(strings.ToLower(path.Base(n)), ".onnx")
		if asked == "" && stem == "model" || asked != "" && (strings.HasSuffix(stem, "_"+strings.ToLower(asked)) || strings.HasSuffix(stem, "-"+strings.ToLower(asked))) {
			found = append(found, n)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case asked == "" && len(all) == 1:
		return all[0], nil
	case len(found) == 0 && asked != "":
		return "", fmt.Errorf("has no .onnx file of the variant %s; it has %s", asked, few(all))
	}
	return "", fmt.Errorf("has several .onnx files; name one, as in hf:org/repo/%s; it has %s", all[0], few(all))
}

// companions are the files beside an ONNX model that a model of text is served with.
var companions = []string{"tokenizer.json", "tokenizer_config.json", "config.json", "sentence_bert_config.json", "modules.json", "1_Pooling/config.json"}

// withCompanions adds to an ONNX model its weights in files of their own, and what belongs to a model of text: from its own
// folder, or else the repository's.
func withCompanions(model string, names []string) []choice {
	dir, base := path.Dir(model), path.Base(model)
	out := []choice{{model, base}}
	has := map[string]bool{}
	for _, n := range names {
		has[n] = true
		if path.Dir(n) != dir || n == model {
			continue
		}
		if rest, ok := strings.CutPrefix(path.Base(n), base); ok && (strings.HasPrefix(rest, "_data") || strings.HasPrefix(rest, ".data")) {
			out = append(out, choice{n, path.Base(n)})
		}
	}
	for _, c := range companions {
		for _, from := range []string{path.Join(dir, c), c} {
			if has[from] {
				out = append(out, choice{from, c})
				break
			}
		}
	}
	return out
}
