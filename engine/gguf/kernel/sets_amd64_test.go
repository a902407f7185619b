package kernel

import "golang.org/x/sys/cpu"

func hasVNNI() bool { return cpu.X86.HasAVXVNNI }
