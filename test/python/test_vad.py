"""The starter model vad: chunks of 100 sounds, interleaved on one gRPC stream, are answered as one sound at a time, by this
server and by ONNX Runtime itself. Also shows how a client streams speech."""

import queue
import wave

import numpy as np
import pytest
import tritonclient.grpc as tg
from triton import tensor

STREAMS, CHUNKS, CHUNK = 100, 60, 512


@pytest.fixture(scope="module")
def sounds(models):
    """100 different sounds made of the example: other places, loudness and noise."""
    with wave.open(str(models / "vad" / "speech.wav")) as w:
        assert w.getframerate() == 16000
        x = np.frombuffer(w.readframes(w.getnframes()), "<i2").astype(np.float32) / 32768
    rng = np.random.default_rng(3)
    made = []
    for k in range(STREAMS):
        y = np.roll(x, -rng.integers(len(x)))[: CHUNKS * CHUNK] * rng.uniform(0.2, 1.2)
        made.append((y + rng.normal(0, rng.uniform(0, 0.02), len(y))).astype(np.float32).reshape(CHUNKS, 1, CHUNK))
    return made


@pytest.fixture(scope="module")
def expected(sounds, models):
    """What silero-vad's own wrapper does: 64 samples of the chunk before, 512 new ones, the state carried over."""
    import onnxruntime as ort

    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    s = ort.InferenceSession(models / "vad" / "1" / "model.onnx", o, providers=["CPUExecutionProvider"])
    want = np.zeros((STREAMS, CHUNKS), np.float32)
    for k, chunks in enumerate(sounds):
        state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32)
        for i, chunk in enumerate(chunks):
            p, state = s.run(None, {"input": np.concatenate([context, chunk], 1), "state": state, "sr": np.array(16000, np.int64)})
            context = chunk[:, -64:]
            want[k, i] = p[0, 0]
    assert want.min() < 0.05 and want.max() > 0.95, "the sounds hold no speech, or nothing else"
    return want


class Stream:
    """One gRPC stream, on which any number of sounds is sent."""

    def __init__(self, address):
        self.client = tg.InferenceServerClient(address)
        self.got = queue.Queue()
        self.client.start_stream(lambda result, error: self.got.put((result, error)))

    def send(self, sound, i, chunk):
        self.client.async_stream_infer(
            "vad", [tensor(tg, "input", chunk)], request_id=f"{sound} {i}", sequence_id=sound + 1, sequence_start=i == 0, sequence_end=i == CHUNKS - 1
        )

    def receive(self, into):
        result, error = self.got.get(timeout=120)
        assert error is None, error
        sound, i = map(int, result.get_response().id.split())
        into[sound, i] = result.as_numpy("output")[0, 0]

    def close(self):
        self.client.stop_stream()
        self.client.close()


def statistics(address):
    with tg.InferenceServerClient(address) as c:
        s = c.get_inference_statistics("vad").model_stats[0]
        return s.inference_count, s.execution_count


def test_interleaved_equals_one_at_a_time(grpc_address, sounds, expected):
    alone, together = np.full_like(expected, np.nan), np.full_like(expected, np.nan)
    s = Stream(grpc_address)
    for k, chunks in enumerate(sounds):
        for i, chunk in enumerate(chunks):
            s.send(k, i, chunk)
        for _ in chunks:
            s.receive(alone)
    rows, batches = statistics(grpc_address)
    for i in range(CHUNKS):
        for k in range(STREAMS):
            s.send(k, i, sounds[k][i])
    for _ in range(CHUNKS * STREAMS):
        s.receive(together)
    s.close()
    after = statistics(grpc_address)
    mean = (after[0] - rows) / (after[1] - batches)
    print(f"{after[0] - rows} chunks in {after[1] - batches} batches, {mean:.1f} a batch")
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    assert mean > 1.2, "the streams did not share batches"
