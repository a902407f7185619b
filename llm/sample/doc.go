// Package sample picks the next token of a sequence from a model's logits, and tells log-probabilities.
//
// The steps and their order are vLLM's (vllm/v1/sample/sampler.py, whose semantics follow OpenAI's API where that defines them):
//
//  1. logit bias is added;
//  2. penalties: repetition over prompt and answer, presence and frequency over the answer only;
//  3. the mask of a constraint: what it forbids is never drawn;
//  4. temperature 0 (below 1e-5): the most likely token, the lowest id of equals, and nothing further;
//  5. temperature; then min_p, top_k, and top_p of what those two leave, by its own total. min_p and top_p therefore see the
//     distribution after temperature, as vLLM's, TGI's and Hugging Face's do; llama.cpp filters before it divides.
//
// Of equal logits at the border of top_k or top_p the lower ids stay, so a set has exactly the size asked for.
//
// The random number of a position is a function of the seed and the position alone (Philox4x32-10, Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3", SC 2011), and the draw is the inverse of the distribution function in the order of ids.
// So a sequence's tokens depend on its logits, seed and settings only, whatever else is in the batch, and a draw can be
// repeated: Sample changes nothing that a later Sample sees.
//
// Called by engines. It imports the root.
package sample
