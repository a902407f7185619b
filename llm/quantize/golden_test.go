package quantize_test

import "serval/llm/gguf"

// golden are the first bytes of the blocks that TestGolden encodes. They were taken from this encoder, once its blocks were as near
// to the weights as TestError wants; they change only with the encoder.
var golden = map[gguf.Type]string{
	gguf.F16:  "3c22cea27f19de26b11e5f205225e2280f245523d5a727a02b95bd9516224ea498a41fa005947ea89e21129e3da0a89d",
	gguf.BF16: "483c5abc303bdc3cd63b0c3caa3c1c3d823c6b3cfbbc05bca5bab8ba433c8abc93bc04bc81ba10bd343cc2bb08bcb5bb",
	gguf.Q8_0: "ec0c29d40959161c457f35309ae5fcfb28c8c4e5fd8b25ece4eeb2dfb1edf20ee340320ebfbd3aef7fc61520ee14de3a",
	gguf.Q6K:  "d60bae1a7bc94fc1534449f771a136ee8059cf606a1b490bab771b1bac9438611090e274112eabb855db482203478664",
	gguf.Q5_1: "d11879a8fd4310a074b9e00a42c2b8df56b552cbde1eb4784719b7a79488a88482321429ce037f6089bfe744aa978803",
	gguf.Q5K:  "7a05f9125d9e66bfa9e3a0f7ac9259f5c904330183b151a3c1f180e24060b192c084f892d1c25066e0b8e2d0289160a3",
	gguf.Q5_0: "d59802bcef5f8b360ff5bd3c4720a94aad2321e14b877a9a2b75577b387899b201d74e8c320e1469212433daa49c6c5f",
	gguf.Q4_1: "ca1c4ea83a54780da9695c6f2b5a216567875ab4f91c8ba630100a845f7137b83457f31a444333790f1e80a5258f4033",
	gguf.Q4K:  "bf09de125c9c62bfa8df99fe8ba078d30904a74cf8197b8f4a7a31a54737399343150780597635b63255f2164648357b",
	gguf.Q4_0: "0a9dc6ab87f36796a490d5a5de9a9878a64b0c9e9cccd459806ca746a9870ab4999aaa655da097508a9876aba95779a9",
}
