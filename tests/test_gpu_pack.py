"""What a bare machine lacks is packed, and no more than it takes."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.command import ROOT

#: What each wheel of a made-up registry needs.
REGISTRY = {
    "diffusers": ["torch", "regex!=1", "flax>=0.4; extra == 'flax'", "old; python_version < '3.10'"],
    "regex": ["helper; sys_platform == 'linux'"],
    "helper": ["colorama; sys_platform == 'win32'"],
    "xatlas": ["numpy"],
}


@pytest.fixture
def gpu_pack(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_pack", ROOT / "benchmarks/gpu_pack.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def download(need: str, folder: Path, python: str) -> Path:
        name = need.split("!")[0]
        wheel = folder / f"{name}-1-py3-none-any.whl"
        needs = "".join(f"Requires-Dist: {other}\n" for other in REGISTRY[name])
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\n{needs}\n")
        return wheel

    monkeypatch.setattr(module, "download", download)
    monkeypatch.setattr(module, "NEEDED", ("torch", "numpy", "diffusers", "xatlas"))
    return module


def test_what_is_needed_in_turn_is_packed_and_what_is_there_is_not(gpu_pack: ModuleType, tmp_path: Path) -> None:
    present = gpu_pack.names("torch==2.11.0+cu130\nNumPy==2.5.2\n# a comment\n")
    assert present == {"torch", "numpy"}
    wheels = gpu_pack.pack(tmp_path / "pack", present, "3.12")
    assert {wheel.name.split("-")[0] for wheel in wheels} == {"diffusers", "regex", "helper", "xatlas"}


def test_too_large_a_pack_is_refused_with_what_is_largest(gpu_pack: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / "huge.whl"
    with wheel.open("wb") as file:
        file.truncate(gpu_pack.LARGEST + 1)
    with pytest.raises(SystemExit, match=r"60\.0 MB, more than 60: huge\.whl 60\.0"):
        gpu_pack.check_size([wheel])
    with wheel.open("wb") as file:
        file.truncate(1000)
    assert gpu_pack.check_size([wheel]) == 1000
