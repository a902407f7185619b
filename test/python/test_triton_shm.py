"""System shared memory, in and out, over REST and gRPC."""

import numpy as np
import pytest
import tritonclient.grpc as tg
import tritonclient.http as th
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, serialize_byte_tensor
from triton import tensor


@pytest.fixture(params=["http", "grpc"])
def client(request, http_address, grpc_address):
    module, address = (th, http_address) if request.param == "http" else (tg, grpc_address)
    with module.InferenceServerClient(address) as c:
        c.module = module
        c.unregister_system_shared_memory()
        yield c
        c.unregister_system_shared_memory()


@pytest.fixture
def region(client):
    handle = shm.create_shared_memory_region("r", f"/serval_e2e_{client.module.__name__[-4:]}", 1 << 16)
    client.register_system_shared_memory("r", f"/serval_e2e_{client.module.__name__[-4:]}", 1 << 16)
    yield handle
    shm.destroy_shared_memory_region(handle)


def regions(client):
    status = client.get_system_shared_memory_status(**({} if client.module is th else {"as_json": True}))
    return {r["name"]: int(r["byte_size"]) for r in (status if client.module is th else status.get("regions", {}).values())}


def test_in_and_out(client, region, reference):
    m = client.module
    x = np.random.default_rng(3).normal(size=(7, 30)).astype(np.float32)
    shm.set_shared_memory_region(region, [x], offset=64)
    i = m.InferInput("x", [7, 30], "FP32")
    i.set_shared_memory("r", x.nbytes, offset=64)
    o = m.InferRequestedOutput("y")
    o.set_shared_memory("r", 28, offset=4096)
    r = client.infer("mlp", [i], outputs=[o])
    out = r.get_output("y")
    shape = out["shape"] if isinstance(out, dict) else list(out.shape)
    got = shm.get_contents_as_numpy(region, np.float32, shape, offset=4096)
    np.testing.assert_allclose(got, reference("mlp", {"x": x})["y"], rtol=1e-5)
    # in from memory, out on the wire
    r = client.infer("mlp", [i])
    np.testing.assert_array_equal(r.as_numpy("y"), got)


def test_strings(client, region):
    m = client.module
    a = np.array([["grüße"], [""]], object)
    raw = serialize_byte_tensor(a).item()
    shm.set_shared_memory_region(region, [np.frombuffer(raw, np.uint8)])
    i = m.InferInput("a", [2, 1], "BYTES")
    i.set_shared_memory("r", len(raw))
    r = client.infer("concat", [i, tensor(m, "b", a)])
    assert r.as_numpy("y").tolist() == [["grüße".encode()] * 2, [b"", b""]]


def test_status_and_unregister(client, region):
    assert regions(client) == {"r": 1 << 16}
    with pytest.raises(InferenceServerException, match="already"):
        client.register_system_shared_memory("r", f"/serval_e2e_{client.module.__name__[-4:]}", 8)
    client.unregister_system_shared_memory("r")
    assert regions(client) == {}
    i = client.module.InferInput("x", [1, 30], "FP32")
    i.set_shared_memory("r", 120)
    with pytest.raises(InferenceServerException, match="'r'"):
        client.infer("mlp", [i])


@pytest.mark.parametrize("size,offset", [(120, 1 << 16), (120, 2**62), (1 << 17, 0), (116, 0)])
def test_out_of_bounds(client, region, size, offset):
    i = client.module.InferInput("x", [1, 30], "FP32")
    i.set_shared_memory("r", size, offset=offset)
    with pytest.raises(InferenceServerException, match="'x'|offset"):
        client.infer("mlp", [i])


def test_output_too_small(client, region):
    o = client.module.InferRequestedOutput("y")
    o.set_shared_memory("r", 4)
    with pytest.raises(InferenceServerException, match="'y'"):
        client.infer("mlp", [tensor(client.module, "x", np.zeros((2, 30), np.float32))], outputs=[o])


def test_keys_that_are_no_shared_memory(client):
    for key in ("/nothing_has_this_name", "/../etc/passwd", "../../etc/passwd", "/a/b", ""):
        with pytest.raises(InferenceServerException):
            client.register_system_shared_memory("bad", key, 16)
    assert regions(client) == {}


def test_cuda_is_refused(client):
    with pytest.raises(InferenceServerException, match="CUDA"):
        client.register_cuda_shared_memory("c", b"aGFuZGxl", 0, 16)
