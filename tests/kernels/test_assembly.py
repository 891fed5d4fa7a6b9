"""The compiled CPU drivers work on whole vector registers, of this machine and of older ones; results are the same.

Older targets are compiled for in a process of their own: numba reads the target from the environment when it starts.
One kernel is compiled for all of them, the others for this machine.
"""

import functools
import importlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding

from tests.reference import fixed_point as reference

ROOT = Path(__file__).parents[2]
ROWS, T, SCALE, LEVEL = 37, 150, 64, 65  # not multiples of 16 rows or 64 steps

X86 = platform.machine().lower() in ("x86_64", "amd64")
ARM = platform.machine().lower() in ("arm64", "aarch64")
HAS = {name for name, here in binding.get_host_cpu_features().items() if here}

OLDER = {
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+sse4.1,+sse4.2"},
    "SSE2": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}
PRODUCTS = "pmulld|pmaddwd|pmuludq"  # four, eight or sixteen integer products


def inputs():
    rng = np.random.default_rng(0)
    x = rng.normal(0.05, 0.6, (ROWS, T)).astype(np.float32)
    x[rng.random(x.shape) < 0.02] = np.inf
    x[rng.random(x.shape) < 0.02] = np.nan
    decays = rng.integers(0, 4097, (2, ROWS)).astype(np.float32)
    return x, rng.normal(0, 1, x.shape).astype(np.float32), *decays


def run_both():
    """Spikes, and the gradients of the input and of both decays."""
    from lavadl_lite.kernels import cuba

    x, g_spikes, *decays = inputs()
    spikes, g_x, g_decays, nothing = np.empty_like(x), np.empty_like(x), np.empty((2, ROWS), np.float32), x[:0]
    kept = np.empty(cuba.checkpoints(ROWS, T), np.int32)
    parameters = (*decays, nothing, nothing, T, ROWS, float(SCALE), LEVEL)
    size = {"rows": ROWS, "elements": x.size}
    cuba.forward(x, spikes, kept, nothing, nothing, *parameters, 1.0, 0.0, False, **size)
    cuba.backward(g_spikes, x, kept, g_x, *g_decays, *parameters, 0.02, 0.01, 0.5, False, 0, False, **size)
    return spikes, g_x, g_decays


SCRIPT = """
import sys
sys.path.append(sys.argv[1])
import numpy as np
from lavadl_lite.kernels import cuba
from tests.kernels.test_assembly import run_both
np.savez(sys.argv[2] + "/results.npz", *run_both())
for name, kernel in (("forward", cuba.forward), ("backward", cuba.backward)):
    (assembly,) = kernel.cpu.inspect_asm().values()
    with open(f"{sys.argv[2]}/{name}.s", "w") as file:
        file.write(assembly)
"""


@functools.cache
def this_machine():
    target = binding.Target.from_default_triple()
    features = binding.get_host_cpu_features().flatten()
    return target.create_target_machine(binding.get_host_cpu_name(), features, opt=3)


def assembly_of(kernel):
    """The assembly of a kernel that was called, for this machine, from the optimised module that numba keeps of it.

    ``inspect_asm`` shows that of a kernel which was just compiled, and none of one that was found in the cache.  Where
    a test gave it an integer for a real number there are two, whose arithmetic does not differ.
    """
    compiled, *_ = kernel.cpu.overloads.values()
    return this_machine().emit_assembly(compiled.library._get_module_for_linking())


def missing(name):
    """Why an older target cannot be compiled for and run here, or None."""
    if not X86:
        return "an x86 target"
    return "this machine has no AVX2" if name == "AVX2" and not {"avx2", "fma"} <= HAS else None


@pytest.fixture(scope="module")
def compilers(tmp_path_factory):
    """A process for each older target, all at once, and the folder for its assembly and results."""
    started = {}
    for name, target in OLDER.items():
        if missing(name) is None:
            folder = tmp_path_factory.mktemp(name)
            environment = {**os.environ, **target, "NUMBA_CACHE_DIR": str(folder / "cache")}
            started[name] = subprocess.Popen([sys.executable, "-c", SCRIPT, ROOT, folder], env=environment), folder
    yield started
    for process, _ in started.values():
        process.kill()
        process.wait()


@pytest.fixture(params=["host", *OLDER])
def compiled(request, compilers):
    """Name of a target, its assembly of both directions, and what it computes."""
    from lavadl_lite.kernels import cuba

    name = request.param
    if name == "host":
        results = run_both()
        return name, {way: assembly_of(getattr(cuba, way)) for way in ("forward", "backward")}, results
    if missing(name):
        pytest.skip(missing(name))
    process, folder = compilers[name]
    assert process.wait() == 0
    with np.load(folder / "results.npz") as results:
        return name, {way: (folder / f"{way}.s").read_text() for way in ("forward", "backward")}, [*results.values()]


def register_of(name):
    """The letter of the widest vector registers of a target: x, y or z."""
    if name == "host":
        return "z" if "avx512f" in HAS else "y" if "avx2" in HAS else "x"
    return {"AVX2": "y", "SSE2": "x"}[name]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_arithmetic_is_on_whole_registers(compiled, direction):
    name, assemblies, _ = compiled
    assembly = assemblies[direction]
    if ARM:
        assert re.search(r"\tmul(\.4s\s|\s+v\d+\.4s)", assembly)
        assert re.search(r"\tfcvtzs(\.4s\s|\s+v\d+\.4s)", assembly)
    elif X86:
        products = re.findall(rf"\tv?(?:{PRODUCTS})\t.*%([xyz])mm\d+", assembly)
        conversions = re.findall(r"\tv?cvttps2dq\t.*%([xyz])mm\d+", assembly)
        assert products
        assert set(products) == {register_of(name)}
        assert set(conversions) == {register_of(name)}
        assert not re.search(r"\tv?cvttss2si", assembly), "a step was left to scalars"
    else:
        pytest.skip(f"nobody has looked at assembly of {platform.machine()}")


def test_results_are_the_same_everywhere(compiled):
    *_, (spikes, g_x, g_decays) = compiled
    x, _, decay_c, decay_v = inputs()
    _, voltage = reference.cuba(x, decay_c, decay_v, 0, 0, SCALE, LEVEL)
    np.testing.assert_array_equal(spikes, voltage >= LEVEL)
    # gradients are rounded with or without fused multiply-add; sums near the limit of a state cancel
    _, g_x_here, g_decays_here = run_both()
    for there, here, tolerance in ((g_x, g_x_here, 1e-6), (g_decays, g_decays_here, 5e-6)):
        assert np.isfinite(here).all()
        assert np.abs(there - here).max() <= tolerance * np.abs(here).max()


# --- the other kernels, on this machine ------------------------------------------------------------------------------


def runs(torch, slayer):
    """A forward and a backward for each kernel; a kernel without a backward returns nothing that has a gradient."""
    x, y, decay, zero = torch.rand(2, 3, 9), torch.rand(2, 3, 9), torch.full((3,), 400.0), torch.zeros(1)
    wanted = {"requires_grad": True}
    dynamics = slayer.neuron.dynamics
    return {
        "adaptive_threshold": lambda: dynamics.adaptive_threshold.dynamics(x, zero, decay, zero, decay, 0.1, 1, 4096),
        "alif": lambda: slayer.neuron.alif.Neuron(1.0, 0.1, 0.2, 0.1, 0.1, 0.2, **wanted)(x),
        "delta": lambda: slayer.axon.Delta(0.1, **wanted)(x),
        "leaky": lambda: dynamics.leaky_integrator.dynamics(x.requires_grad_(), decay.requires_grad_(), zero, 4096),
        "resonate": lambda: slayer.neuron.rf.Neuron(1.0, 8, 0.1, **wanted)((x, y)),
        "resonator": lambda: dynamics.resonator.dynamics(x.requires_grad_(), y, decay, decay, zero, zero, 4096),
        "sigma": lambda: slayer.dendrite.Sigma()(x.requires_grad_()),
    }


@pytest.mark.parametrize("name", ["adaptive_threshold", "alif", "delta", "leaky", "resonate", "resonator", "sigma"])
def test_steps_of_the_other_kernels_are_on_whole_registers(name):
    torch = pytest.importorskip("torch")
    from lavadl_lite import slayer

    if not X86:
        pytest.skip("reads the assembly of x86")
    module = importlib.import_module(f"lavadl_lite.kernels.{name}")
    kernels = {way: getattr(module, way) for way in ("forward", "backward") if hasattr(module, way)}
    output = runs(torch, slayer)[name]()
    if "backward" in kernels:
        (output[0] if isinstance(output, tuple) else output).sum().backward()
    arithmetic = "addpd" if name == "sigma" else "(?:add|sub|mul|fn?m(?:add|sub)[123]+)ps"
    for way, kernel in kernels.items():
        assembly = assembly_of(kernel)
        for pattern in (PRODUCTS, "cvttps2dq", arithmetic):
            found = set(re.findall(rf"\tv?(?:{pattern})\t.*%([xyz])mm\d+", assembly))
            assert found <= {register_of("host")}, f"{way}: {pattern}"
        assert found, f"{way}: no {arithmetic}"
        assert not re.search(r"\tv?cvttss2si", assembly), f"{way}: a step was left to scalars"
        loops = re.split(r"^\.?LBB\w+:.*$", assembly, flags=re.MULTILINE)
        densest = max(loops, key=lambda loop: len(re.findall(r"%[xyz]mm\d+", loop)))
        assert not re.search(r"\tcallq?\t", densest), f"{way}: a step was not inlined"
