// Package template renders chat templates: Jinja, as Hugging Face transformers runs it (an immutable sandbox with
// trim_blocks, lstrip_blocks, loop controls, the generation tag, and functions such as raise_exception, strftime_now and
// tojson). The output is byte for byte what jinja2 makes, on Python's semantics of numbers, strings, lists and dicts.
//
// task/generate renders conversations with it, llm/reply renders probes to find out how a model writes its calls. It imports the
// standard library only.
//
// A template comes with a model and is not trusted: Parse and Render are bounded in depth, steps, memory and output
// (see Limits), reach nothing outside of their variables, and never panic. Inside, errors travel as panics of type *Error from the
// place of the fault to Parse or Render, which return them.
//
// The steps, by file: lexer.go and parser.go make nodes of the source, render.go runs statements and eval.go expressions;
// value.go, dict.go, number.go and text.go are Python's values, method.go, filter*.go, test.go and global.go what can be done with
// them.
package template
