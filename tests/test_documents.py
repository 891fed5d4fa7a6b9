"""The README and the documentation keep their promises: their Python runs, their commands use what is pinned once."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import HAS_TORCH

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("neurons/*.md"))]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def marked(page):
    """A page as a parameter; the one on Lava needs it."""
    runs = importlib.util.find_spec("lava") is not None and sys.platform != "win32"  # it starts processes by fork
    missing = pytest.mark.skipif(not runs, reason="lava-nc is not installed, or does not run here")
    return pytest.param(page, id=page.name, marks=[pytest.mark.lava, missing] if page.name == "deployment.md" else ())


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")
@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_python_runs(page, tmp_path, monkeypatch):
    """All Python blocks of a page, one after the other."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        exec(compile(block, page.name, "exec"), names)


def test_quick_start_is_two_blocks():
    quick_start = README.partition("## Quick start")[2].partition("\n## ")[0]
    demo, tests = blocks(quick_start, "bash")
    assert blocks(README, "bash") == [demo, tests], ".ci/run takes the second bash block of the README"
    assert demo.splitlines()[-1] == "lavadl-lite demo"
    assert tests.splitlines()[-1] == "tox"
    assert demo.splitlines()[:2] == tests.splitlines()[:2]


def test_torch_is_pinned_in_one_place():
    """A version of torch is written in constraints.txt, the least one that we accept in setup.cfg, and nowhere else."""
    files = [
        path
        for pattern in ("*", "docs/*.md", ".github/workflows/*", ".ci/*")
        for path in ROOT.glob(pattern)
        if path.is_file() and path.suffix in {"", ".cfg", ".md", ".toml", ".txt", ".ini", ".yml", ".yaml"}
    ]
    pins = {path.name: re.findall(r"torch *[=~]= *([\w.]+)", path.read_text(encoding="utf-8")) for path in files}
    assert {name: found for name, found in pins.items() if found} == {"constraints.txt": pins["constraints.txt"]}
    assert len(pins["constraints.txt"]) == 1


def test_changelog_has_a_place_for_new_lines():
    assert "\n## Unreleased\n" in (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8")
