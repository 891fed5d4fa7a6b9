"""How long Lava takes for a step of lava-dl's own network files; the simulator's time is in ``simulator.py``.

``python tests/benchmarks/lava_speed.py [FOLDER]`` in an environment with lava-nc.  FOLDER holds the files as lava-dl's
wheel has them (``tests/lava/lib/dl/netx``); without it the wheel is fetched.
"""

import argparse
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from lava_dl_tests import FOLDER, wheel

FILES = {
    "PilotNet SDNN": "gts/pilotnet_sdnn/network.net",
    "PilotNet LIF": "gts/pilotnet_lif/network.net",
    "mnist.net": "mnist.net",
    "tiny.net": "tiny.net",
}


def seconds_per_step(path, steps, threads=None):
    """Lava's time for a step of a network whose input changes at every step.

    Parameters
    ----------
    path : path-like
        A network file that starts with an input layer.
    steps : int
        How many steps are timed, after two that are not.
    threads : int, optional
        Lava runs every process in a process of the system of its own; there is nothing to choose.
    """
    from lavadl_lite.netx.hdf5 import Network

    if threads is not None:
        raise ValueError(f"expected threads None, got {threads}: Lava's processes run side by side anyway")
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.source import RingBuffer

    net = Network(str(path))
    x = np.random.default_rng(0).integers(0, 64, (*net.inp.shape, steps + 2))
    RingBuffer(data=x).s_out.connect(net.inp)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    try:
        net.run(condition=RunSteps(num_steps=2), run_cfg=config)
        start = time.perf_counter()
        net.run(condition=RunSteps(num_steps=steps), run_cfg=config)
        return (time.perf_counter() - start) / steps
    finally:
        net.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder
        if folder is None:
            with zipfile.ZipFile(wheel(Path(name))) as archive:
                archive.extractall(name, [member for member in archive.namelist() if member.startswith(FOLDER)])
            folder = Path(name) / FOLDER / "netx"
        for title, file in FILES.items():
            sys.stdout.write(f"{title}: {1000 * seconds_per_step(folder / file, options.steps):.1f} ms a step\n")


if __name__ == "__main__":
    main()
