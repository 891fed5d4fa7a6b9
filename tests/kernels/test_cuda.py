"""What stands between tensors and a CUDA driver: loading, errors, arguments, streams; all of it without a GPU."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lavadl_lite.errors import DeviceError
from lavadl_lite.kernels import cuda as launcher  # `cuda` is what a driver's module calls numba's

HAS_NUMBA_CUDA = importlib.util.find_spec("numba_cuda") is not None
needs_numba_cuda = pytest.mark.skipif(not HAS_NUMBA_CUDA, reason="numba-cuda is not installed")


@pytest.fixture
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(launcher, "_loaded", {})


class Tensor:
    """What a launch asks of a CUDA tensor."""

    def __init__(self, device, values):
        self.device, self.values = device, values

    def data_ptr(self):
        return self.values.ctypes.data

    def detach(self):
        return self

    def reshape(self, *shape):
        return Tensor(self.device, self.values.reshape(*shape))


class Recorder:
    """numba.cuda and torch.cuda in one: notes what a launch does."""

    def __init__(self, monkeypatch, handle=0):
        self.events, self.device_now = [], None
        self.torch = SimpleNamespace(
            cuda=SimpleNamespace(device=self.device, current_stream=lambda d: SimpleNamespace(cuda_stream=handle)),
            version=SimpleNamespace(cuda="12.8"),
        )
        monkeypatch.setitem(sys.modules, "torch", self.torch)
        monkeypatch.setattr(launcher, "_loaded", {"module": self})

    def device(self, device):
        recorder = self

        class Entered:
            def __enter__(self):
                recorder.device_now = device

            def __exit__(self, *_):
                recorder.device_now = None

        return Entered()

    def external_stream(self, handle):
        return f"stream {handle}"

    def as_cuda_array(self, tensor, sync):
        assert not sync, "would wait for the GPU"
        return tensor.values

    def jit(self, function=None, **_):
        if function is None:
            return self.jit
        return self

    def __getitem__(self, configuration):
        return lambda *arguments: self.events.append((self.device_now, configuration, arguments))


def body(x, state, T, scale, graded, rows):
    """A driver of the usual arguments."""


@pytest.mark.parametrize(("handle", "stream"), [(0, 0), (77, "stream 77")])
@pytest.mark.parametrize(("rows", "blocks"), [(1, 128), (128 * 32, 128), (128 * 32 + 1, 129)])
def test_launch_is_on_the_device_and_stream_of_the_tensors(monkeypatch, handle, stream, rows, blocks):
    recorder = Recorder(monkeypatch, handle)
    x, state = Tensor("cuda:1", np.ones((2, 3), np.float32)), Tensor("cuda:1", np.zeros(0, np.float32))
    launcher.cuda_kernel(body)(x, state, np.int64(3), 64.0, True, rows=rows)
    [(device, configuration, arguments)] = recorder.events
    assert device == "cuda:1"
    assert configuration == (blocks, 32, stream)
    assert [a.shape for a in arguments[:2]] == [(6,), (0,)]
    # one specialisation: a number has one type whatever Python called it
    assert [type(a) for a in arguments[2:]] == [int, np.float32, bool, int]


def test_a_block_may_have_other_rows_and_lanes(monkeypatch):
    recorder = Recorder(monkeypatch)
    x = Tensor("cuda:0", np.ones(3, np.float32))
    launcher.cuda_kernel(body, rows=16, lanes=128)(x, rows=200 * 16)
    [(_, configuration, _)] = recorder.events
    assert configuration == (200, 128, 0)


def test_no_rows_launch_nothing(monkeypatch):
    recorder = Recorder(monkeypatch)
    launcher.cuda_kernel(body)(Tensor("cuda:0", np.zeros((0, 3), np.float32)), rows=0)
    assert not recorder.events


def test_tensors_of_two_devices_are_refused(monkeypatch):
    recorder = Recorder(monkeypatch)
    x, state = Tensor("cuda:0", np.ones(3, np.float32)), Tensor("cpu", np.ones(3, np.float32))
    with pytest.raises(DeviceError, match="on cuda:0, got one on cpu"):
        launcher.cuda_kernel(body)(x, state, rows=1)
    assert not recorder.events


def test_a_missing_compiler_is_explained(monkeypatch):
    class NvvmSupportError(ImportError):
        """As numba-cuda calls it."""

    def compile_it(*_, **__):
        raise NvvmSupportError("no NVVM")

    recorder = Recorder(monkeypatch)
    recorder.as_cuda_array = compile_it
    with pytest.raises(DeviceError, match=r"no NVVM.*pip install 'lavadl-lite\[cu12\]'"):
        launcher.cuda_kernel(body)(Tensor("cuda:0", np.ones(3, np.float32)), rows=1)


def test_other_errors_pass_through(monkeypatch):
    recorder = Recorder(monkeypatch)
    recorder.as_cuda_array = lambda *_, **__: 1 / 0
    with pytest.raises(ZeroDivisionError):
        launcher.cuda_kernel(body)(Tensor("cuda:0", np.ones(3, np.float32)), rows=1)


@pytest.mark.parametrize(("built_for", "extras"), [("12.8", ["cu12"]), ("13.0", ["cu13"]), (None, ["cu12", "cu13"])])
def test_missing_numba_cuda_names_the_extra_to_install(monkeypatch, nothing_loaded, built_for, extras):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(version=SimpleNamespace(cuda=built_for)))
    with pytest.raises(DeviceError, match="numba-cuda") as caught:
        launcher.load()
    assert [extra for extra in ("cu12", "cu13") if f"'lavadl-lite[{extra}]'" in str(caught.value)] == extras
    assert launcher.problem() == str(caught.value)


@needs_numba_cuda
def test_missing_driver_is_a_device_error(nothing_loaded):
    from numba import cuda as numba_cuda

    if numba_cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match="driver"):
        launcher.load()
    assert "driver" in launcher.problem()


def run(code):
    """Standard output of a new interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_kernels_load_without_numba_cuda():
    code = """
import sys
import lavadl_lite.kernels as kernels
kernels.cuba, kernels.leaky, kernels.shift, kernels.cuda
print([name for name in sys.modules if name.startswith(("numba.cuda", "numba_cuda"))])
"""
    assert run(code) == "[]"


@needs_numba_cuda
def test_numba_cuda_loads_without_row_stack():
    """NumPy 2.5 has none; what stands in for it is gone again afterwards."""
    code = """
import numpy as np
if hasattr(np, "row_stack"):
    del np.row_stack
from lavadl_lite.errors import DeviceError
from lavadl_lite.kernels import cuda
try:
    cuda.load()
except DeviceError as error:
    assert "driver" in str(error)
import sys
print("numba.cuda.np.arrayobj" in sys.modules, hasattr(np, "row_stack"))
"""
    assert run(code) == "True False"
