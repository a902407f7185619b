// Package tree computes ensembles of decision trees in Go: XGBoost's JSON and UBJ models, LightGBM's text models and
// CatBoost's JSON models. What it answers is what the library that wrote the file answers; see docs/decisions/0002-trees.md
// for how exact that is and why.
//
// The data path: sniff.go picks the format, token.go with json.go and ubj.go reads it, xgboost*.go, lightgbm*.go and
// catboost*.go turn it into an ensemble (ensemble.go). layout.go, nodes.go and oblivious.go lay that out as a forest. For a
// call, instance.go lays its rows out, keys.go makes keys of them, walk*.go find the leaves, score.go adds them up, and
// link.go makes answers of the sums.
//
// Called by schedule through the engine contract. It imports the root and engine.
package tree
