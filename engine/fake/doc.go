// Package fake is an engine without arithmetic: it answers with its inputs, or streams numbers, after a chosen delay. It
// shows what the data path itself costs, and lets tests overload it. It loads folders with a model.fake file:
//
//	{"inputs":  [{"name": "x", "datatype": "FP32", "shape": [-1, 4], "symbols": ["batch", ""]}],
//	 "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4], "symbols": ["batch", ""]}],
//	 "delay": "2ms", "row_delay": "10us"}
//
// With "faults" it also shows what a bad engine does to its process, when it is told to; see faultSpec.
//
// Output i repeats input i. With "steps": n the model streams instead: n chunks, each the number of its step (INT32).
package fake
