"""Run lava-dl's own tests of netx and of deployed blocks against this library, and count what passes.

``python tests/benchmarks/lava_dl_tests.py`` in an environment with torch, lava-nc and pytest.  The tests come from
lava-dl's wheel, are laid out in a temporary folder, and see ``lava.lib.dl`` as this library.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "0.6.0"
FOLDER = "tests/lava/lib/dl"
MODULES = ("netx/test_blocks.py", "netx/test_hdf5.py", "netx/test_hdf5_nx.py", "slayer/block")

# what the tests import by name is ours; what they only draw with may be missing
CONFTEST = """
import sys, types
import matplotlib
matplotlib.use("agg")
from lavadl_lite import netx, slayer
from lavadl_lite.netx import blocks, hdf5, modules, utils
import lava
dl = types.ModuleType("lava.lib.dl")
dl.netx, dl.slayer, dl.__path__ = netx, slayer, []
lib = types.ModuleType("lava.lib")
lib.dl, lib.__path__ = dl, []
names = {"lava.lib": lib, "lava.lib.dl": dl, "lava.lib.dl.netx": netx, "lava.lib.dl.slayer": slayer,
         "lava.lib.dl.netx.hdf5": hdf5, "lava.lib.dl.netx.blocks": blocks, "lava.lib.dl.netx.utils": utils,
         "lava.lib.dl.netx.blocks.process": blocks.process, "lava.lib.dl.netx.blocks.models": blocks.models}
sys.modules.update(names)
"""


def wheel(folder: Path) -> Path:
    """Lava-dl's wheel, fetched by pip into ``folder``."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    subprocess.run([*command, "--dest", str(folder), f"lava-dl=={VERSION}"], check=True)
    (found,) = folder.glob("*.whl")
    return found


def main() -> int:
    """Lay the tests out, run them, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, help="the wheel, where it is there already")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(options.wheel or wheel(folder)) as archive:
            inside = [
                member for member in archive.namelist() if member.startswith((f"{FOLDER}/netx", f"{FOLDER}/slayer"))
            ]
            archive.extractall(folder, inside)
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        tests = [str(folder / FOLDER / module) for module in MODULES]
        flags = ["-p", "no:cacheprovider", "-q", "--import-mode=importlib", "-W", "ignore", "--tb=short"]
        command = [sys.executable, "-m", "pytest", "--rootdir", str(folder), "-c", "/dev/null", *flags, *tests]
        done = subprocess.run([*command, *options.pytest], capture_output=True, text=True, cwd=folder, check=False)
    print(done.stdout)
    counts = {what: int(count) for count, what in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    print(f"lava-dl {VERSION}: {counts}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
