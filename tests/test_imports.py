"""What importing us costs, what it brings along, and in which direction our modules import each other."""

import ast
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lavadl_lite
from tests.conftest import HAS_TORCH

ROOT = Path(lavadl_lite.__file__).parent

# From left to right: a module may import its own group and what stands before it, never what stands after it.
ORDER = [
    "errors, files",
    "exchange, viz",
    "kernels",
    "slayer.utils",
    "slayer.neuron.dynamics, slayer.spike",
    "slayer.synapse, slayer.axon, slayer.dendrite",
    "slayer.neuron, slayer.utils.recurrent",
    "slayer.block",
    "slayer.classifier",
    "slayer.loss",
    "slayer.io, slayer.auto, slayer.object_detection, netx, bootstrap, decolle",
    "demo",
    "cli",
]
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts.split(", ")}

NEEDS_LAVA = re.compile(r"\.netx\.(hdf5|blocks|_lava_build|_lava_synapses|_unroll)")
HAS_LAVA = importlib.util.find_spec("lava") is not None

needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")


def modules():
    """Name and file of every module of ours."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("lavadl_lite", *path.relative_to(ROOT).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def part_of(name):
    """The entry of ORDER that holds a module; None for the roots, which hold several, and for what has no place."""
    name = name.removeprefix("lavadl_lite").lstrip(".")
    return max((part for part in RANK if f"{name}.".startswith(f"{part}.")), key=len, default=None)


def rank_of(name):
    """How far to the right a module stands; a root as far as the last of what it holds."""
    part = part_of(name)
    if part is not None:
        return RANK[part]
    inside = f"{name}.".removeprefix("lavadl_lite.")
    return max((rank for part, rank in RANK.items() if part.startswith(inside)), default=None)


def imports(name, path):
    """What the import statements of a module name, written out from the top; those for type checkers left out."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def run(code):
    """Standard output of a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("name", "path"), [pytest.param(*module, id=module[0]) for module in modules()])
def test_imports_point_one_way(name, path):
    part = part_of(name)
    ours = [target for target in imports(name, path) if target.startswith("lavadl_lite.")]
    ours = [target for target in ours if target != "lavadl_lite.__version__"]
    if part is None:
        assert path.name == "__init__.py" or name == "lavadl_lite.__main__", f"{name} has no place in ORDER"
        return
    for target in ours:
        rank = rank_of(target)
        assert rank is not None, f"{name} imports {target}, which has no place in ORDER"
        assert part_of(target) == part or rank < RANK[part], f"{name} imports {target}, which stands to its right"


def test_every_place_in_the_order_is_read_right():
    """Guards the test above: names at package borders, relative imports, roots."""
    assert part_of("lavadl_lite.slayer.neuron.dynamics.cuba") == "slayer.neuron.dynamics"
    assert part_of("lavadl_lite.slayer.neuron.base") == "slayer.neuron"
    assert part_of("lavadl_lite.slayer") is None
    assert rank_of("lavadl_lite.slayer") == rank_of("lavadl_lite.slayer.object_detection") < rank_of("lavadl_lite.demo")
    assert rank_of("lavadl_lite.elsewhere") is None
    found = set(imports("lavadl_lite.kernels.launch", ROOT / "kernels" / "launch.py"))
    assert "lavadl_lite.errors.ShapeError" in found
    assert "lavadl_lite.kernels.memory" in found
    assert "torch.Tensor" not in found


@pytest.mark.parametrize(
    "package", ["lavadl_lite", "lavadl_lite.netx", "lavadl_lite.exchange", "lavadl_lite.kernels", "lavadl_lite.viz"]
)
def test_light_import_brings_neither_torch_nor_numba(package):
    loaded = run(f"import sys, {package}; print([m for m in ('torch', 'numba') if m in sys.modules])")
    assert loaded == "[]"


@needs_torch
def test_slayer_import_adds_little_to_torch_and_no_numba():
    """At most 0.3 s of the processor, the least of five processes, after one that writes the bytecode.

    What else runs on the machine delays some of them, and is not their cost.
    """
    code = """
import sys
import time
import torch
start = time.process_time()
import lavadl_lite.slayer
print(time.process_time() - start, *(m for m in sys.modules if m.partition(".")[0] == "numba"))
"""
    _, *answers = (run(code).split() for _ in range(6))
    assert all(len(answer) == 1 for answer in answers), "numba was loaded"
    assert min(float(seconds) for (seconds,) in answers) <= 0.3


@needs_torch
def test_public_names_resolve_and_are_documented():
    """Every module lists what it offers; all that is there, and says what it does."""
    if HAS_LAVA:
        importlib.import_module("lavadl_lite.netx._lava").prepare()
    for info in pkgutil.walk_packages([str(ROOT)], "lavadl_lite."):
        if info.name.endswith("__main__") or (NEEDS_LAVA.search(info.name) and not HAS_LAVA):
            continue
        module = importlib.import_module(info.name)
        assert module.__doc__, f"{info.name} does not say what it holds"
        assert hasattr(module, "__all__"), f"{info.name} has no __all__"
        for name in module.__all__:
            public = getattr(module, name)
            if callable(public) and public.__module__.startswith("lavadl_lite"):
                assert inspect.getdoc(public), f"{info.name}.{name} is not documented"
            for method, value in vars(public).items() if inspect.isclass(public) else ():
                if inspect.isroutine(value) and not method.startswith("_"):
                    assert inspect.getdoc(getattr(public, method)), f"{info.name}.{name}.{method} is not documented"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        lavadl_lite.nothing_of_ours  # noqa: B018
