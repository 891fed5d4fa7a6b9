"""Sphinx settings; ``tox -e docs`` builds with warnings as errors."""

import importlib.util
import os
import sys
import warnings
from pathlib import Path

import lavadl_lite

sys.path.insert(0, str(Path(__file__).parent))  # our own extensions

project = "lavadl_lite"
author = "the lavadl_lite developers"
copyright = f"2026, {author}"
version = release = lavadl_lite.__version__

extensions = [
    "format_tables",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "lavadl_lite"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

# the pages of netx.hdf5 and netx.blocks do not need the Lava that these need
autodoc_mock_imports = [] if importlib.util.find_spec("lava") else ["lava"]
autodoc_default_options = {"exclude-members": "neuron_type"}
autodoc_inherit_docstrings = False  # not those of torch
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say type, shape and range
numpydoc_show_class_members = False  # autodoc lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "abort_on_example_error": True,
    "capture_repr": (),
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}

os.environ["TQDM_DISABLE"] = "1"  # no progress bars in the pages
warnings.filterwarnings("ignore", category=DeprecationWarning)
