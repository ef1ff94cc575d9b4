"""PyMatting's two functions that a cutout needs, without the rest of PyMatting.

`import pymatting` compiles 29 kernels, which takes a minute of one core at the first photo on a machine. These two need
a fifth of that. So their modules are imported while PyMatting's packages stand empty: what a package's `__init__` would
import beside them is not compiled.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

import mpod_pipeline.base.compiled  # noqa: F401  finds a folder for compiled kernels first

PACKAGES = ("", ".util", ".laplacian", ".preconditioner", ".solver", ".alpha", ".foreground")


@contextmanager
def _empty_packages() -> Iterator[None]:
    """PyMatting's packages without what they import. Afterwards they can be imported as usual."""
    spec = find_spec("pymatting")
    assert spec and spec.submodule_search_locations, "pymatting is a dependency in pyproject.toml"
    (folder,) = spec.submodule_search_locations
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "pymatting"}
    for name in before:
        del sys.modules[name]
    for package in PACKAGES:
        empty = ModuleType("pymatting" + package)
        empty.__path__ = [folder + package.replace(".", "/")]
        sys.modules[empty.__name__] = empty
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "pymatting"]:
            del sys.modules[name]
        sys.modules.update(before)


with _empty_packages():
    _alpha = importlib.import_module("pymatting.alpha.estimate_alpha_cf")
    _foreground = importlib.import_module("pymatting.foreground.estimate_foreground_ml")

estimate_alpha_cf = _alpha.estimate_alpha_cf
estimate_foreground_ml = _foreground.estimate_foreground_ml
