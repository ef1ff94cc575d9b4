"""Where kernels are kept that Numba has compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import mpod_pipeline
from mpod_pipeline.base.compiled import _own_folder
from mpod_pipeline.base.errors import SetupError

CODE = """
import numba
import mpod_pipeline.geometry.marching_tetrahedra.numba_, mpod_pipeline.rendering.rasterize.numba_
print(numba.config.CACHE_DIR)
"""


def imported_from(folder: Path, **environment: str) -> str:
    """Where Numba keeps what a copy of the package in ``folder`` compiles; '' for a place that it found itself."""
    command = [sys.executable, "-c", CODE]
    told = {**os.environ, "PYTHONPATH": str(folder), **environment}
    told.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=told, check=True)
    return done.stdout.strip()


def test_without_a_project_or_a_home_to_write_to_kernels_are_kept_among_temporary_files(tmp_path: Path) -> None:
    source = Path(mpod_pipeline.__file__).parent
    package = tmp_path / "mpod_pipeline"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    homeless = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "TMPDIR": str(tmp_path)}
    assert imported_from(tmp_path, **homeless) == ""  # beside the code
    for cache in list(package.rglob("__pycache__")):
        shutil.rmtree(cache)
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()  # in the way of a folder, also for those who may write everywhere
    kept = tmp_path / f"mpod_pipeline-{os.getuid()}"
    assert imported_from(tmp_path, **homeless) == str(kept)
    assert list(kept.iterdir()) and kept.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_could_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = _own_folder()
    assert own == _own_folder() == tmp_path / f"mpod_pipeline-{os.getuid()}"
    own.chmod(0o777)
    other = _own_folder()
    assert other != own and other.parent == tmp_path and other.stat().st_mode & 0o777 == 0o700


def test_without_any_place_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null/tmp")
    with pytest.raises(SetupError, match="set NUMBA_CACHE_DIR"):
        _own_folder()
