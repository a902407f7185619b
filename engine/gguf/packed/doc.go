// Package packed keeps a model's weights on disk as engine/gguf's kernels want them, and maps them: a second start then neither packs nor
// takes memory of its own, and processes that serve one model share one copy in the page cache.
//
// Called by engine/gguf; it imports the standard library only. It works on Linux; elsewhere a [Store] keeps nothing.
//
// A file stands for a [Key]: which source files ([Store.Identify]), what of them is packed in which order, and the version of the layout. Files are
// written beside and renamed, never changed afterwards, and removed by name: one that is mapped stays until it is unmapped. Its header
// and all of its data are checked against sums at each [Store.Open]; what is damaged, cut short or of another version is removed and an
// error, after which the caller packs and writes anew. Nothing here ever makes a load fail.
//
// A file that is cut short while it is mapped (nobody but its owner can) makes reads of it fault: [Mapping.Guard] makes errors of these.
package packed
