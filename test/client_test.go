package test

import "testing"

// The clients of the field, unchanged. Each file of test/python says what it covers.

func TestTritonClient(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, file := range []string{"test_triton_infer.py", "test_triton_features.py", "test_triton_stream.py", "test_triton_shm.py", "test_triton_control.py"} {
		t.Run(file, func(t *testing.T) { pytest(t, s, "triton", file) })
	}
}

func TestKServe(t *testing.T) {
	t.Parallel()
	pytest(t, serve(t), "kserve", "test_kserve.py")
}
