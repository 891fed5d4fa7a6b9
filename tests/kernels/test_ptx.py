"""The CUDA drivers compile and assemble without a GPU, within a budget of registers and shared memory.

Needs numba-cuda and a CUDA package that carries NVVM and ptxas of one version (``nvidia-cuda-nvcc-cu12``): Linux only.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lavadl_lite.kernels import (
    adaptive_threshold,
    alif,
    cuba,
    delta,
    events,
    leaky,
    piecewise,
    recurrent,
    resonate,
    resonator,
    rounding,
    shift,
    sigma,
    sigma_delta,
)

nvcc = pytest.importorskip("nvidia.cuda_nvcc", reason="needs nvidia-cuda-nvcc-cu12, which is not installed")
pytest.importorskip("numba_cuda", reason="needs numba-cuda, which is not installed")
if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    pytest.skip("numba's simulator is on, which compiles nothing", allow_module_level=True)
PTXAS = Path(next(iter(nvcc.__path__))) / "bin" / "ptxas"
if not PTXAS.exists():
    pytest.skip("nvidia-cuda-nvcc-cu12 has no ptxas for this system", allow_module_level=True)

CAPABILITIES = [(7, 5), (8, 0), (9, 0)]  # Turing, Ampere, Hopper
TILE = 32 * 33 * 4  # bytes

# Per kernel: its arguments (f, i, l, d: arrays of float32, int32, int64 and float64, s: float32, n: int64, b: bool),
# and its budget of registers a lane and bytes of shared memory a warp.  A multiprocessor has 65536 registers, so 128
# leave room for 16 warps; it has 64 KiB of shared memory or more (Turing), so three tiles leave room for 5 warps
# (Hopper: 17).
KERNELS = {
    "adaptive threshold": (adaptive_threshold.forward, "fffffffffnsnnn", 128, 2 * TILE),
    "alif forward": (alif.forward, "ffifffnnsnnssn", 168, TILE),  # twice the states: room for 12 warps
    "alif backward": (alif.backward, "ffiffffnnsnnssbnn", 128, 3 * TILE),
    "cuba forward": (cuba.forward, "ffiffffffnnsnssbn", 128, TILE),
    "cuba backward": (cuba.backward, "ffifffffffnnsnsssbnbn", 128, 3 * TILE),
    "delta forward": (delta.forward, "fffffnnsbbn", 136, TILE),  # room for 15 warps
    "delta backward": (delta.backward, "ffffffnnsbbssn", 128, 2 * TILE),
    "events marked": (events.mark, "flllddnnnnnn", 96, 0),
    "events added": (events.add, "dddddddnnnnnn", 96, 0),
    "leaky forward": (leaky.forward, "ffffnsnn", 128, TILE),
    "leaky backward": (leaky.backward, "fffffffnsnn", 128, 2 * TILE),
    "piecewise forward": (piecewise.forward, "fffn", 64, 0),
    "piecewise backward": (piecewise.backward, "ffffsn", 64, 0),
    "recurrent forward": (recurrent.forward, "ffffffffifnnnsnnnssbbbn", 80, 0),
    "recurrent backward": (recurrent.backward, "ffffffffnnnsnnssssbbbbnn", 80, 0),
    "resonate forward": (resonate.forward, "fffifffnnsnnssbbn", 128, 2 * TILE),
    "resonate backward": (resonate.backward, "fffiffffffnnsnnsssbbbnn", 128, 4 * TILE),
    "resonator forward": (resonator.forward, "ffffffffnsnnn", 128, 2 * TILE),
    "resonator backward": (resonator.backward, "ffffffffffffffnsnnn", 128, 4 * TILE),
    "rounding forward": (rounding.forward, "ffssssn", 64, 0),
    "rounding backward": (rounding.backward, "fffsssn", 64, 0),
    "sigma forward": (sigma.forward, "ffddnn", 144, TILE),  # room for 14 warps
    "sigma backward": (sigma.backward, "ffnn", 128, TILE),
    "sigma delta forward": (sigma_delta.forward, "ffdfdfffdfnnssssbbn", 144, TILE),  # room for 14 warps
    "sigma delta backward": (sigma_delta.backward, "ffdffffffdfnnssssbbssn", 168, 3 * TILE),
    "shift forward": (shift.forward, "fffsnnn", 96, 512),
    "shift backward": (shift.backward, "fffffsnnn", 96, 512 + TILE),
}


@pytest.fixture
def no_gpu(monkeypatch):
    """Stand in for the device and for NVRTC, which numba-cuda only asks what it supports."""
    from numba.cuda import cuda_paths, dispatcher
    from numba.cuda.cudadrv import nvrtc

    def pretend(capability):
        device = type("Device", (), {"compute_capability": capability})
        monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)

    monkeypatch.setattr(nvrtc, "get_supported_ccs", lambda: tuple(CAPABILITIES))
    monkeypatch.setattr(cuda_paths, "_get_nvrtc_path", lambda: None)
    return pretend


def ptx_of(kernel, arguments, capability):
    from numba import cuda, types

    kinds = {"f": types.float32[::1], "i": types.int32[::1], "s": types.float32, "n": types.int64, "b": types.boolean}
    kinds |= {"d": types.float64[::1], "l": types.int64[::1]}
    function = kernel.cuda.function
    function.__globals__["cuda"] = cuda
    signature = types.void(*[kinds[letter] for letter in arguments])
    return cuda.compile(function, signature, device=False, abi="numba", cc=capability)[0]


def assemble(ptx, capability, folder):
    """What ptxas reports: registers, bytes of shared memory, bytes of stack and spills."""
    source = folder / "kernel.ptx"
    source.write_text(ptx)
    architecture = "-arch=sm_{}{}".format(*capability)
    done = subprocess.run(
        [PTXAS, architecture, "-v", source, "-o", folder / "kernel.cubin"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    def number(pattern):
        found = re.search(pattern, done.stderr)
        return int(found[1]) if found else 0

    spills = sum(number(rf"(\d+) bytes {kind}") for kind in ("stack frame", "spill stores", "spill loads"))
    return number(r"Used (\d+) registers"), number(r"(\d+) bytes smem"), spills


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: "{}.{}".format(*c))
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_stays_in_its_budget(name, capability, no_gpu, tmp_path, record_property):
    kernel, arguments, most_registers, most_shared = KERNELS[name]
    no_gpu(capability)
    ptx = ptx_of(kernel, arguments, capability)
    if not name.startswith(("sigma", "events")):  # which do little for each number that they wait for
        assert ".f64" not in ptx, "double precision runs at 1/32 of the speed or less on most GPUs"
    assert not re.search(r"\bcall\b", ptx), "a step was not inlined"
    assert "__local_depot" not in ptx, "an array is not in registers"
    registers, shared, spills = assemble(ptx, capability, tmp_path)
    record_property("registers", registers)
    record_property("shared", shared)
    assert spills == 0
    assert registers <= most_registers
    assert shared <= most_shared
