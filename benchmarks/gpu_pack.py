"""Pack what a bare GPU machine lacks for benchmarks/gpu.py: wheels, at most 60 MB of them.

    python -m pip freeze > present.txt                                  # there
    python benchmarks/gpu_pack.py pack --present present.txt            # here, where a registry can be reached
    python -m pip install --no-index --no-deps --target site pack/*.whl # there; then PYTHONPATH=site

Names come from what the benchmark imports and what that needs in turn, less what is there; versions come from
constraints.txt. --add takes wheels that were compiled elsewhere, as of tinycudann, which no registry has.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
#: What the benchmark and the parts of the project that it runs import. (nerfacc compiles itself where nvcc is.)
NEEDED = (
    *("torch", "torchvision", "numpy", "scipy", "numba", "pydantic", "pyyaml", "pillow", "safetensors", "pytest"),
    *("diffusers", "transformers", "accelerate", "opencv-python-headless", "onnxruntime"),
    *("xatlas", "pygltflib", "fast-simplification", "nerfacc"),
)
LARGEST = 60_000_000
#: glibc's versions, newest first, of the wheels that a machine of today takes.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (35, 34, 31, 28, 27, 24, 17)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux1_x86_64"]


def names(freeze: str) -> set[str]:
    """The packages that `pip freeze` or a list of names speaks of."""
    found = (re.match(r"[A-Za-z0-9._-]+", line.strip()) for line in freeze.splitlines())
    return {canonicalize_name(match[0]) for match in found if match}


def requirements(wheel: Path, python: str) -> list[Requirement]:
    """What a wheel needs on Linux under a version of Python."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        lines = Parser().parsestr(file.read(name).decode()).get_all("Requires-Dist") or []
    there = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    there |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    needs = [Requirement(line) for line in lines]
    return [need for need in needs if need.marker is None or need.marker.evaluate(there)]


def download(need: str, folder: Path, python: str) -> Path:
    """The wheel of a package, in the version of constraints.txt where that has one."""
    before = set(folder.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", "--dest", str(folder)]
    command += ["--constraint", str(ROOT / "constraints.txt")]
    command += [option for platform in PLATFORMS for option in ("--platform", platform)]
    subprocess.run([*command, need], check=True)
    (wheel,) = set(folder.glob("*.whl")) - before
    return wheel


def pack(folder: Path, present: set[str], python: str) -> list[Path]:
    """Fill a folder with the wheels of all that is needed and not there."""
    folder.mkdir(parents=True, exist_ok=True)
    wheels, known, waiting = [], set(present), [Requirement(name) for name in NEEDED]
    while waiting:
        need = waiting.pop(0)
        name = canonicalize_name(need.name)
        if name not in known:
            known.add(name)
            wheels.append(download(f"{need.name}{need.specifier}", folder, python))
            waiting += requirements(wheels[-1], python)
    return wheels


def check_size(wheels: list[Path]) -> int:
    """Bytes in all. Raises SystemExit where they are too many."""
    sizes = {wheel.name: wheel.stat().st_size for wheel in wheels}
    total = sum(sizes.values())
    if total > LARGEST:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
        listed = ", ".join(f"{name} {sizes[name] / 1e6:.1f}" for name in largest)
        raise SystemExit(f"The pack has {total / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}: {listed}.")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--present", type=Path, required=True, help="what `pip freeze` says on the machine")
    parser.add_argument("--python", default="3.12", help="the machine's version of Python")
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="wheels that are taken along as they are")
    arguments = parser.parse_args()
    wheels = pack(arguments.folder, names(arguments.present.read_text()), arguments.python)
    wheels += [Path(shutil.copy(wheel, arguments.folder)) for wheel in arguments.add]
    total = check_size(wheels)
    print(f"{len(wheels)} wheels, {total / 1e6:.1f} MB, in {arguments.folder}")


if __name__ == "__main__":
    main()
