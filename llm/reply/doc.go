// Package reply reads what a chat model writes: it sets reasoning and tool calls apart from the text, as the text arrives.
//
// Models write calls in many forms. Detect finds a model's own by rendering probe conversations with its template; where the
// template shows no tools, or not the calls made before, Described and Describe tell the model about them in a system message.
// Constrain makes the constraint that holds the calls to the tools' schemas, New the parser:
//
//	style, err := reply.Detect(templateSource)           // once per model
//	if len(tools) > 0 && !style.TakesTools {             // the template cannot show them
//		style = style.Described()
//		messages, tools = reply.Describe(style, messages, tools), nil
//	}
//	prompt := …                                          // rendered
//	style = style.At(prompt)                             // does the prompt begin the reasoning already?
//	c, err := reply.Constrain(style, all, mode, name, oneCall)
//	p := reply.New(style, all)
//	p.Feed(piece, emit); …; p.End(emit)
//
// A Parser never gives out a part of a marker as text. The arguments of a call are passed on as they arrive, as JSON text, also
// where the model writes them as tags. What begins like a call and is none becomes text again.
//
// A model whose markers are special tokens needs their text: Parser.Marker says which of them to feed. A token that ends the
// answer is not fed.
//
// Called by task/generate. It imports the root, llm/template and llm/grammar.
package reply
