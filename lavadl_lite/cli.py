"""The command ``lavadl-lite``: look at a network file, run it, compare runs, check the installation, see the demo.

Importing this loads neither torch nor numba; each command brings what it needs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from . import __version__
from .errors import DeviceError, ExchangeError, ParameterError
from .files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .netx import Simulator

__all__ = ["main"]

NAME = "lavadl-lite"
WRONG = 1  # exit code of a command that found what should not be
FAULT = 2  # of one that could not do what was asked

EVENTS = (".bs1", ".bs2", ".bin")  # what files of events are called
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
        Exit code: 0 for success, 1 where ``check`` found an error, ``verify`` a difference or ``doctor`` something
        missing, 2 where the command could not be carried out, told in one line on stderr.
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

    check = commands.add_parser("check", help="print what a target cannot hold of a network file")
    check.add_argument("file", metavar="FILE.net", type=Path)
    check.add_argument("--target", choices=["lava", "loihi2", "simulator"], default="lava", help="default: lava")
    check.set_defaults(command=_check)

    run = commands.add_parser("run", help="run a network file on an array or on events, in integers, as Lava would")
    _add_run_options(run)
    run.add_argument(
        "-o", "--output", metavar="OUTPUT.npy", type=Path, help="where to write the output messages (int32)"
    )
    run.set_defaults(command=_run)

    verify = commands.add_parser("verify", help="compare a run of a network file with Lava's, or with a stored output")
    _add_run_options(verify)
    beside = verify.add_mutually_exclusive_group(required=True)
    beside.add_argument("--against", choices=["lava"], help="compare every layer of the simulator and of Lava")
    beside.add_argument("--expected", metavar="OUTPUT.npy", type=Path, help="compare the output with what run wrote")
    verify.set_defaults(command=_verify)

    doctor = commands.add_parser("doctor", help="check what is installed, and whether kernels compile and run")
    doctor.set_defaults(command=_doctor)

    demo = commands.add_parser("demo", help="train on handwritten digits, export, and run as integers")
    if with_demo:
        from . import demo as demo_module

        demo_module.add_arguments(demo)
        demo.set_defaults(command=demo_module.main)
    return parser


def _add_run_options(run: argparse.ArgumentParser) -> None:
    """What says how a network runs, and on what."""
    run.add_argument("file", metavar="FILE.net", type=Path)
    run.add_argument(
        "input", metavar="INPUT", type=Path,
        help="array of shape ([N,] C, H, W, T) or ([N,] C, T) in a .npy file; or events of five bytes, with x in 16 "
        "bits (.bs1) or x and y in 8 each (.bs2, .bin)",
    )  # fmt: skip
    run.add_argument("--steps", metavar="T", type=int, help="of events: length of the input; default: all of them")
    run.add_argument("--sampling-time", metavar="MS", type=float, default=1.0, help="of events: milliseconds a step")
    run.add_argument(
        "--input-shape", metavar=("C", "H", "W"), nargs=3, type=int, help="for a network whose first entry has no size"
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


# --- networks --------------------------------------------------------------------------------------------------------


def _info(options: argparse.Namespace) -> int:
    from .exchange import read
    from .netx._report import table

    print(table(read(options.file)))
    return 0


def _check(options: argparse.Namespace) -> int:
    from .netx import check

    findings = check(options.file, options.target)
    print(findings)
    return WRONG if findings.errors else 0


def _run(options: argparse.Namespace) -> int:
    simulator = _simulator(options)
    output = _simulated(simulator, options)
    print(f"{simulator!r}: output {output.shape}, {np.count_nonzero(output)} messages")
    if options.output is not None:
        with whole_file(options.output) as file:
            np.save(file, output)
    return 0


def _verify(options: argparse.Namespace) -> int:
    from .netx.verify import compare, verify

    simulator = _simulator(options)
    if options.expected is not None:
        output, stored = _simulated(simulator, options), _array(options.expected)
        if output.ndim == len(simulator.output_shape) + 1:
            output, stored = output[None], stored[None]
        result = compare(str(options.expected), "the simulator", [((None, "output"), stored, output)])
    else:
        if options.skip_layers or options.input_message_bits or options.align:
            raise ParameterError("expected no --skip-layers, --input-message-bits or --align with --against lava")
        x = _load(options, simulator)
        resets = {"reset_interval": options.reset_interval, "reset_offset": options.reset_offset}
        result = verify(None, simulator.layers, x, "lava", **resets)
    print(result)
    return 0 if result else WRONG


def _simulator(options: argparse.Namespace) -> Simulator:
    from .netx import Simulator

    return Simulator(
        options.file,
        num_layers=options.num_layers,
        skip_layers=options.skip_layers,
        input_message_bits=options.input_message_bits,
        reset_interval=options.reset_interval,
        reset_offset=options.reset_offset,
        input_shape=options.input_shape and tuple(options.input_shape),
    )


def _simulated(simulator: Simulator, options: argparse.Namespace) -> np.ndarray:
    x = _load(options, simulator)
    return simulator.run(simulator.encode(x) if options.encode else x, align=options.align)


# --- files -----------------------------------------------------------------------------------------------------------


def _load(options: argparse.Namespace, simulator: Simulator) -> np.ndarray:
    """The input: an array, or events as the simulator takes them."""
    path = options.input
    return _events(path, options, simulator.input_shape) if path.suffix in EVENTS else _array(path)


def _array(path: Path) -> np.ndarray:
    """One array from a ``.npy`` file; nothing that a file could execute."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ParameterError(f"{path}: expected an array of numbers in a .npy file") from error
    if not isinstance(array, np.ndarray):
        raise ParameterError(f"{path}: expected one array, got an archive of several")
    return array


def _events(path: Path, options: argparse.Namespace, shape: tuple[int, ...]) -> np.ndarray:
    """A spike in every bin that holds events, shape (C, H, W, T), or (C, T) for events without rows."""
    try:
        from .slayer import io
    except ImportError as error:
        raise ImportError(f"{path}: reading events needs torch ({error}); an array in a .npy file does not") from error
    wide = path.suffix == ".bs1"
    if len(shape) != (1 if wide else 3):
        raise ParameterError(f"{path}: expected {'(X,)' if wide else '(C, Y, X)'} as the network's input, got {shape}")
    event = io.read_1d_spikes(path) if wide else io.read_2d_spikes(path)
    steps = event.to_tensor(options.sampling_time).shape[-1] if options.steps is None else options.steps
    plane = (1, 1, *shape) if wide else shape
    filled = event.fill_tensor(np.zeros((*plane, steps), np.float32), sampling_time=options.sampling_time)
    return (filled != 0).reshape(*shape, steps)


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
    from .netx import _neurons

    folder = _neurons.cuba.stats.cache_path
    advice = "no folder can be written, so each process compiles anew; set NUMBA_CACHE_DIR to one of yours"
    yield "cache", str(folder or advice), folder is not None
