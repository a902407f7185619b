// Package kernel computes what an LLM's forward pass is made of on a CPU: products of quantised matrices with int8
// activations, the vector operations between them, attention over blocks of a KV cache, and the team of threads that
// shares a pass. engine/gguf calls it; it imports llm/gguf for the tensor types, and golang.org/x/sys/cpu.
//
// # Choosing the instructions
//
// An [Ops] names an instruction set: AVX-512 VNNI, AVX2 (with FMA and F16C) with AVX-VNNI or without, or plain Go. [Best] asks the CPU;
// [Portable], which is also the zero value, is plain Go, some hundred times slower. Matrices and activations are packed the same way
// for all of them, and products of matrices are the same to the last bit, which the tests hold them to; the sums of vectors and
// attention run in other orders. Nothing here is global.
//
// # Matrices and activations
//
// An [Arena] holds weights on huge pages, one matrix behind the other: pack them in the order in which a pass uses them. A
// [Matrix] keeps 16 rows (a tile) interleaved per block of 32 columns, so that one VPDPBUSD serves 16 rows, or with AVX2 8.
// [Acts] keeps the activations of up to [Lanes] tokens interleaved per block, as integers, as floats, or as both where matrices of
// both kinds are. Results do not depend on which tokens share a product: a token's row of y is the same bit for bit alone and in any
// batch.
//
//	acts.Resize(tokens, cols)                 // or acts.Quantize(x, tokens, cols) for both
//	team.Run(n, func(worker, i int) { acts.Fill(x, from, to) })
//	grain := w.Split(tokens, team.Size())     // tiles a piece
//	team.Run((w.Tiles()+grain-1)/grain, func(worker, i int) { w.Mul(y, ld, acts, i*grain, min((i+1)*grain, w.Tiles())) })
//
// Numbers are llama.cpp's: activations are rounded to int8 per 32 columns with a scale rounded to f16 as in its Q8_0 and
// Q8_1; integer sums are exact; the sums over blocks are float32, in the order of the columns (llama.cpp's lanes add them
// in another order). For weights of the types named K llama.cpp rounds activations per 256 columns (Q8_K), this package per 32 as for all
// others: it is nearer to the exact numbers, and that far from llama.cpp's. Weights are what the file says to the last bit: of the
// types named K the factors of 256 columns and the small integers that multiply them are kept apart. F32, F16 and BF16 weights
// stay floats, and so do their activations, which llama.cpp rounds to the weights' type: a quarter of the speed of integers.
//
// # KV cache
//
// [KV] stores the cells of a cache as one [Store] says, and attends to them. Keys stand in groups of 16 cells, so that 16 scores need no sum
// across lanes, and values cell by cell. As f16 and bf16 a head's keys stand dimension by dimension (element i of cell c at
// (c/16)*16*dim + i*16 + c%16), values at c*dim + i. As Q8_0 a group of keys is a tile of a matrix in that form (form.go), which is
// multiplied by the queries, rounded to two int8 each (see [KV.Ask]); a group's values are its int8, cell by cell, and
// behind them for each 32 dimensions the 16 cells' f16 scales, by which weights are multiplied before the values are. So a block of a paged
// cache holds a multiple of 16 cells. Cells that were not written yet may hold anything finite. The numbers are the same bits on all
// instruction sets, and do not depend on how many rows of queries come at once.
//
// # Threads
//
// [Team] is described there. While a pass runs each worker holds one of the scheduler's Ps, so that a process wants more of them than
// cores, as cmd/serval gives it: else what serves the network waits until the pass ends (19 ms beside 16 tokens, seen with 2 Ps on 2 cores).
package kernel
