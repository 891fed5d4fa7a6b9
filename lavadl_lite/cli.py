"""The command ``lavadl-lite``: look at a network file, run it, check the installation, see the demo.

Importing this loads neither torch nor numba; each command brings what it needs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import __version__
from .errors import DeviceError, ExchangeError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .exchange import Layer

__all__ = ["main"]

NAME = "lavadl-lite"
FAULT = 2  # exit code of a command that could not do what was asked

NEEDED = ("numpy", "numba", "h5py")
USEFUL = {
    "torch": "training needs it: pip install torch",
    "tqdm": "progress bars need it: pip install tqdm",
    "matplotlib": "pictures need it: pip install 'lavadl-lite[viz]'",
    "scikit-learn": "the demo needs it: pip install 'lavadl-lite[examples]'",
    "numba-cuda": "kernels on a GPU need it: pip install 'lavadl-lite[cu12]' or 'lavadl-lite[cu13]'",
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(FAULT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name; by default what the process was started with.

    Returns
    -------
    int
        Exit code: 0 for success, 1 where ``doctor`` found something missing, 2 for an error, told in one line on
        stderr.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser(with_demo=arguments[:1] == ["demo"]).parse_args(arguments)
    try:
        return int(options.command(options))
    except (ValueError, OSError, DeviceError, ImportError) as error:
        sys.stderr.write(f"{NAME}: error: {_line(error, options)}\n")
        return FAULT


def _line(error: Exception, options: argparse.Namespace) -> str:
    """What went wrong in one line, the file it went wrong with included."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    where = f"{options.file}: " if isinstance(error, ExchangeError) and "file" in options else ""
    return where + " ".join(str(error).split())


def _parser(*, with_demo: bool) -> argparse.ArgumentParser:
    """The demo's own options are added only where they are needed, since its module loads torch."""
    parser = _Parser(NAME, description="Networks for neuromorphic chips: look at them, run them, train a first one.")
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="print what a network file holds")
    info.add_argument("file", metavar="FILE.net", type=Path)
    info.set_defaults(command=_info)

    run = commands.add_parser("run", help="run a network file on an array, in integers, as Lava would")
    run.add_argument("file", metavar="FILE.net", type=Path)
    run.add_argument("input", metavar="INPUT.npy", type=Path, help="array of shape ([N,] C, H, W, T) or ([N,] C, T)")
    run.add_argument(
        "-o", "--output", metavar="OUTPUT.npy", type=Path, help="where to write the output messages (int32)"
    )
    run.add_argument("--align", choices=["slayer"], help="timing of training instead of Lava's")
    run.add_argument(
        "--encode", action="store_true", help="the input is real-valued, for a network with an input layer"
    )
    for name, default, text in (
        ("num-layers", None, "use only so many entries"),
        ("skip-layers", 0, "leave out so many entries at the start"),
        ("input-message-bits", 0, "above 0: multiply by the input's integers instead of counting spikes"),
        ("reset-interval", None, "reset all states every so many steps"),
        ("reset-offset", 0, "phase of the resets"),
    ):
        run.add_argument(f"--{name}", metavar="N", type=int, default=default, help=text)
    run.set_defaults(command=_run)

    doctor = commands.add_parser("doctor", help="check what is installed, and whether kernels compile and run")
    doctor.set_defaults(command=_doctor)

    demo = commands.add_parser("demo", help="train on handwritten digits, export, and run as integers")
    if with_demo:
        from . import demo as demo_module

        demo_module.add_arguments(demo)
        demo.set_defaults(command=demo_module.main)
    return parser


# --- info ------------------------------------------------------------------------------------------------------------


def _info(options: argparse.Namespace) -> int:
    from .exchange import output_shapes, read

    network = read(options.file)
    shapes = output_shapes(network.layers)
    rows = [_describe(i, layer, shape) for i, (layer, shape) in enumerate(zip(network.layers, shapes, strict=True))]
    header = {name: name for name in rows[0]}
    widths = {name: max(len(row[name]) for row in (header, *rows)) for name in header}
    for row in (header, *rows):
        print("  ".join(row[name].rjust(widths[name]) for name in header).rstrip())
    neurons = sum(int(np.prod(s)) for layer, s in zip(network.layers, shapes, strict=True) if _has_neurons(layer))
    weights = sum(int(np.count_nonzero(_weights(layer))) for layer in network.layers)
    origin = network.library_version or "no version: written by lava-dl"
    print(f"{neurons} neurons, {weights} weights; {origin}")
    return 0


def _has_neurons(layer: Layer) -> bool:
    return layer.neuron is not None or layer.type == "dense"


def _weights(layer: Layer) -> np.ndarray:
    """All weights of the synapses, as they are stored: a kernel's once, and both parts of complex ones."""
    names = () if layer.type == "input" else ("weight", "weight_rec")
    keys = [key for name in names for key in (name, f"{name}/real", f"{name}/imag") if key in layer.fields]
    return np.concatenate([np.zeros(0), *(np.ravel(layer.fields[key]) for key in keys)])


def _describe(index: int, layer: Layer, shape: tuple[int, ...]) -> dict[str, str]:
    """One row of the table; what a layer does not have is a dash."""
    cell, weights = layer.neuron or {}, _weights(layer)
    row = {"layer": str(index), "type": layer.type, "shape": "x".join(str(size) for size in shape)}
    row["neuron"] = cell.get("type", "integrator" if _has_neurons(layer) else "-")
    row["neurons"] = str(np.prod(shape)) if _has_neurons(layer) else "-"
    row["weights"] = str(np.count_nonzero(weights)) if weights.size else "-"
    row["bits"] = str(_weight_bits(weights)) if weights.size else "-"
    row["bias"] = _range(layer.fields, "bias", "bias/real", "bias/imag")
    row["delay"] = _range(layer.fields, "delay")
    row["threshold"] = _range(cell, "vThMant")
    for name in ("iDecay", "vDecay"):
        row[name] = _range(cell, name)
    return row


def _range(fields: Mapping[str, Any], *names: str) -> str:
    """What the fields of these names span, or a dash where there is none."""
    values = [np.ravel(fields[name]) for name in names if name in fields]
    if not values:
        return "-"
    low, high = int(np.min(values)), int(np.max(values))
    return str(low) if low == high else f"{low}..{high}"


def _weight_bits(weight: np.ndarray) -> int:
    """Bits of the integers that remain when a common power of two is taken out, sign included."""
    integers = weight.astype(np.int64)
    together = int(np.bitwise_or.reduce(integers, axis=None))
    if not together:
        return 0
    integers //= together & -together  # the lowest bit that any weight has
    low, high = int(integers.min()), int(integers.max())
    return max(max(high, 0).bit_length(), (-low - 1).bit_length()) + 1 if low < 0 else high.bit_length()


# --- run -------------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from .netx import Simulator

    simulator = Simulator(
        options.file,
        num_layers=options.num_layers,
        skip_layers=options.skip_layers,
        input_message_bits=options.input_message_bits,
        reset_interval=options.reset_interval,
        reset_offset=options.reset_offset,
    )
    x = _load(options.input)
    output = simulator.run(simulator.encode(x) if options.encode else x, align=options.align)
    print(f"{simulator!r}: output {output.shape}, {np.count_nonzero(output)} messages")
    if options.output is not None:
        _save(options.output, output)
    return 0


def _load(path: Path) -> np.ndarray:
    """One array from a ``.npy`` file; nothing that a file could execute."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ParameterError(f"{path}: expected an array of numbers in a .npy file") from error
    if not isinstance(array, np.ndarray):
        raise ParameterError(f"{path}: expected one array, got an archive of several")
    return array


def _save(path: Path, array: np.ndarray) -> None:
    """The whole file or none."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            np.save(file, array)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# --- doctor ----------------------------------------------------------------------------------------------------------


def _doctor(_options: argparse.Namespace) -> int:
    good = True
    for name, finding, fine in _findings():
        print(f"{'ok' if fine else '--'}  {name.ljust(12)}  {finding}")
        good &= fine or name in USEFUL or name == "GPU"
    print("everything that is needed works" if good else "something that is needed does not work: see above")
    return 0 if good else 1


def _findings() -> Iterator[tuple[str, str, bool]]:
    """What was looked at, what was found, and whether it is as it should be."""
    yield "lavadl_lite", __version__, True
    yield "python", f"{platform.python_version()}, {platform.system()} {platform.machine()}", True
    for name in NEEDED:
        version = _version(name)
        yield name, version or f"missing: pip install {name}", version is not None
    for name, advice in USEFUL.items():
        version = _version(name)
        yield name, version or f"not installed; {advice}", version is not None
    if _version("numba") is None:
        return
    yield from _kernel_findings()
    from .kernels import cuda

    problem = cuda.problem()
    yield "GPU", problem or "a kernel ran", problem is None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _kernel_findings() -> Iterator[tuple[str, str, bool]]:
    """A network of one neuron: weight and threshold 1, no memory, so that each spike comes out a step later."""
    from .exchange import Layer, Network
    from .kernels.cpu import threads
    from .netx import Simulator

    yield "threads", f"{threads()} of {os.cpu_count()} processors", True
    cell = {"type": "CUBA", "iDecay": 4096, "vDecay": 4096, "vThMant": 63}
    fields = {"inFeatures": 1, "outFeatures": 1, "shape": np.ones(1), "weight": np.full((1, 1), 64)}
    start = time.perf_counter()
    spikes = Simulator(Network((Layer("dense", fields, cell),))).run([[1, 0, 1, 0]])
    seconds = time.perf_counter() - start
    right = spikes.tolist() == [[0, 1, 0, 1]]
    yield "kernel", f"loaded or compiled, and run in {seconds:.1f} s" if right else f"wrong result: {spikes}", right
    from .netx import _lif

    folder = _lif.dense.stats.cache_path
    advice = "no folder can be written, so each process compiles anew; set NUMBA_CACHE_DIR to one of yours"
    yield "cache", str(folder or advice), folder is not None
