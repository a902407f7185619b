package protocol

import (
	"bytes"
	"compress/zlib"
	"io"
	"testing"

	"google.golang.org/grpc/encoding"
)

func TestDeflate(t *testing.T) {
	RegisterCodings()
	RegisterCodings()
	if encoding.GetCompressor("gzip") == nil {
		t.Error("gzip is not known")
	}
	c := encoding.GetCompressor("deflate")
	message := bytes.Repeat([]byte("serval "), 1000)
	for round := range 3 { // the second time the pools are used
		var packed bytes.Buffer
		w, err := c.Compress(&packed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(message); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		std, err := zlib.NewReader(bytes.NewReader(packed.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(std); err != nil || !bytes.Equal(got, message) {
			t.Errorf("round %d: the standard library reads %d bytes, %v", round, len(got), err)
		}
		r, err := c.Decompress(&packed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, message) {
			t.Errorf("round %d: %d bytes, %v", round, len(got), err)
		}
		if _, err := c.Decompress(bytes.NewReader([]byte("not zlib"))); err == nil {
			t.Error("nonsense was taken")
		}
	}
}
