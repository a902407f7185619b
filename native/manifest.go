package native

import "runtime"

// Library is one build of a shared library and the package that carries it.
type Library struct {
	Name    string // as engines ask for it: "onnxruntime"
	OS      string // GOOS
	Arch    string // GOARCH
	Path    string // of the library inside the archive; one of Package.Files, with a digest
	Package Package
	// Whole says that the library needs the package's other pinned files beside it.
	Whole bool
	// OnDemand says that it is large and for some machines only: it is fetched when it is asked for by name.
	OnDemand bool
}

// Manifest lists every library that Serval knows how to fetch. Of the builds for one platform the earlier is preferred; the
// later ones are for machines that have another package client. A new library is one more entry.
//
// The digests were taken from files that the clients downloaded (2026-11-24). onnxruntime-node stops at 1.30.0 and its one
// archive carries every platform.
func Manifest() []Library {
	return []Library{
		onnxRuntimeWheel("amd64", "x86_64", 27780211,
			"99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
			"6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
			"8ef51f6bf2c621fc129f625b22241fa6f9a5870bc08eaf2fdd279169ec40d09a"),
		onnxRuntimeWheel("arm64", "aarch64", 23196724,
			"e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
			"49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
			"f91fa2b0a2b8dba9cbc319254d342fa8201fd94b5912b9ce717f82e2207ee3d5"),
		onnxRuntimeNode("amd64", "x64", "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23"),
		onnxRuntimeNode("arm64", "arm64", "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76"),
		llamaNode("amd64", "x64", "0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0", 10824547, llamaFilesX64()),
		llamaNode("arm64", "arm64", "39c76b998e35ed2f236c01472fc79eda0fc558b1c8b535023c2d7ded8c327cc4", 7340902, llamaFilesArm64()),
		llamaCUDA(),
	}
}

// onnxRuntimeWheel is ONNX Runtime 1.32.0 from its wheel; digests are those of the wheel, the library, and the small one
// that every execution provider but the CPU's needs beside it.
func onnxRuntimeWheel(arch, machine string, size int64, archive, library, shared string) Library {
	const path = "onnxruntime/capi/libonnxruntime.so.1.32.0"
	return Library{Name: "onnxruntime", OS: "linux", Arch: arch, Path: path, Package: Package{
		Client: Pip, Name: "onnxruntime", Version: "1.32.0",
		File:   "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_" + machine + ".whl",
		SHA256: archive, Size: size,
		Files: []File{
			{Path: path, SHA256: library},
			{Path: "onnxruntime/capi/libonnxruntime_providers_shared.so", SHA256: shared},
			{Path: "onnxruntime/LICENSE"},
			{Path: "onnxruntime/ThirdPartyNotices.txt"},
		},
	}}
}

// onnxRuntimeNode is ONNX Runtime 1.30.0 from the npm package.
func onnxRuntimeNode(arch, machine, library string) Library {
	path := "package/bin/napi-v6/linux/" + machine + "/libonnxruntime.so.1"
	return Library{Name: "onnxruntime", OS: "linux", Arch: arch, Path: path, Package: Package{
		Client: NPM, Name: "onnxruntime-node", Version: "1.30.0", File: "onnxruntime-node-1.30.0.tgz",
		SHA256: "6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75", Size: 113507888,
		Files: []File{{Path: path, SHA256: library}, {Path: "package/package.json"}},
	}}
}

// here keeps the libraries of this machine's platform, in their order.
func here(all []Library) []Library {
	var out []Library
	for _, l := range all {
		if l.OS == runtime.GOOS && l.Arch == runtime.GOARCH {
			out = append(out, l)
		}
	}
	return out
}
