"""Makes speech.wav, the example of the vad starter model, with the speech synthesiser espeak-ng, and prints the right answer.

Run with a Python that has numpy and onnxruntime, espeak-ng 1.51 installed, and the unpacked wheel of silero-vad 6.2.3:
python speech.py FOLDER-OF-THE-WHEEL

The answer comes from silero-vad's own get_speech_timestamps_from_probs. The wheel wants torch, of which the part used here needs
nothing but names, so a stand-in is enough; its OnnxWrapper (64 samples of context before each 512, state [2, 1, 128]) is done
with numpy instead.
"""
import importlib.util
import pathlib
import subprocess
import sys
import types
import wave

import numpy as np
import onnxruntime

RATE = 16000
here = pathlib.Path(__file__).parent


def say(text):
    """The text as samples at RATE."""
    raw = subprocess.run(["espeak-ng", "-v", "en-us", "-s", "165", "-g", "1", "--stdout", text], check=True, capture_output=True).stdout
    rate = int.from_bytes(raw[24:28], "little")
    x = np.frombuffer(raw[44 : 44 + (len(raw) - 44) // 2 * 2], "<i2").astype(np.float64)
    # From 22,050 Hz by a windowed sinc, which also cuts what 16,000 Hz cannot hold.
    at = np.arange(int(len(x) * RATE / rate)) * rate / RATE
    taps = np.arange(-64, 65)
    index = np.floor(at).astype(int)[:, None] + taps
    distance = at[:, None] - index
    cut = 0.94 * RATE / rate
    kernel = cut * np.sinc(cut * distance) * np.cos(np.pi * np.clip(distance / 66, -0.5, 0.5)) ** 2
    inside = np.where((index >= 0) & (index < len(x)), x[np.clip(index, 0, len(x) - 1)], 0)
    return (inside * kernel).sum(axis=1)


def sound():
    rng = np.random.default_rng(1)
    quiet = lambda seconds: np.zeros(int(seconds * RATE))
    parts = [quiet(0.45), say("Serval hears you."), quiet(0.5), say("Silence is left out."), quiet(0.2)]
    x = np.concatenate(parts)
    x = 0.6 * 32767 * x / np.abs(x).max() + rng.normal(0, 12, len(x))  # with the noise of a quiet room
    return np.round(x).astype("<i2")


def probabilities(x, wheel):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = 1
    s = onnxruntime.InferenceSession(wheel / "silero_vad/data/silero_vad_16k_op15.onnx", o, providers=["CPUExecutionProvider"])
    x = x.astype(np.float32) / 32768
    x = np.pad(x, (0, -len(x) % 512))
    state, context, got = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for chunk in x.reshape(-1, 512):
        whole = np.concatenate([context, chunk])
        p, state = s.run(None, {"input": whole[None], "state": state, "sr": np.array(RATE, np.int64)})
        context = chunk[-64:]
        got.append(float(p[0, 0]))
    return got


def timestamps(wheel):
    torch = types.ModuleType("torch")
    torch.no_grad = lambda: lambda f: f
    torch.Tensor, torch.device = object, lambda name: name
    sys.modules["torch"] = torch
    if importlib.util.find_spec("packaging") is None:
        sys.modules["packaging"] = types.ModuleType("packaging")
        sys.modules["packaging"].version = None
    spec = importlib.util.spec_from_file_location("utils_vad", wheel / "silero_vad/utils_vad.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_speech_timestamps_from_probs


if __name__ == "__main__":
    wheel = pathlib.Path(sys.argv[1])
    x = sound()
    with wave.open(str(here / "speech.wav"), "wb") as w:
        w.setparams((1, 2, RATE, 0, "NONE", ""))
        w.writeframes(x.tobytes())
    p = probabilities(x, wheel)
    for s in timestamps(wheel)(p, sampling_rate=RATE, audio_length_samples=len(x)):
        print(s, s["start"] / RATE, s["end"] / RATE)
    print("probabilities:", ", ".join(f"{v:.4f}" for v in p[:40]))
