// Command asm writes kernel_amd64.s and kernel_amd64.go: the kernels of AVX-512 and AVX2 of engine/gguf/kernel. It is a module of its own,
// so that avo is no dependency of serval: (cd asm && go run .), which go generate does.
//
// Registers are assigned by hand: what lives where is the point of these kernels.
package main
