"""Packages of npm, run by Node.js: Khronos' glTF validator, and gltfpack, which packs a GLB's geometry by meshopt."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mpod_pipeline.base.errors import ProductError, SetupError

#: Where npm puts gltfpack.
GLTFPACK = Path("node_modules/gltfpack")
#: Seconds that one file may take.
PATIENCE_S = 120
#: The severity of an error in a report.
ERROR = 0
_VALIDATE = """
const validator = require(process.argv[1]);
const data = require('fs').readFileSync(0);
validator.validateBytes(new Uint8Array(data)).then(report => console.log(JSON.stringify(report.issues)));
"""
#: Positions and UVs stay floats, or a node would scale the model and a texture's transform its UVs; names and extras
#: stay. 14 bits of a UV are a quarter of a texel of 2048.
_KEEP = ("-kn", "-km", "-ke")
_PACK = ("-cc", "-ce", "ext", "-vpf", "-vtf", "-vt", "14")
_UNPACK = ("-noq",)


def find_validator(folder: Path) -> Path | None:
    """The package's folder; None where there is none. Raises SetupError where it is there, but Node.js is not."""
    if not folder.is_dir():
        return None
    if shutil.which("node") is None:
        raise SetupError(
            f"Khronos' validator is in {folder}, but Node.js, which runs it, is not installed (the command `node`): "
            "install it, or move the folder away."
        )
    return folder.absolute()


def errors_in(glb: bytes, validator: Path) -> list[str]:
    """The messages of a file's errors. Raises ProductError where the validator gives up."""
    command = ["node", "-e", _VALIDATE, str(validator)]
    with _giving_up("Khronos' validator"):
        done = subprocess.run(command, input=glb, capture_output=True, timeout=PATIENCE_S, check=True)
        messages = json.loads(done.stdout)["messages"]
    return [f"{message['message']} ({message['pointer']})" for message in messages if message["severity"] == ERROR]


class Gltfpack:
    """folder: of the package. Raises SetupError where it or Node.js is not there."""

    def __init__(self, folder: Path) -> None:
        self._program = folder.absolute() / "cli.js"
        if not self._program.is_file():
            raise SetupError(
                f"publish_web.compress is meshopt, which gltfpack makes, and that is not in {folder}: `npm install "
                "gltfpack` in the project's folder gets it, or leave the setting out (draco needs nothing)."
            )
        if shutil.which("node") is None:
            raise SetupError(
                "publish_web.compress is meshopt, and Node.js, which runs gltfpack, is not installed (the command "
                "`node`): install it, or leave the setting out (draco needs nothing)."
            )

    def pack(self, data: bytes) -> bytes:
        """A GLB with its geometry packed, as EXT_meshopt_compression; its pictures stay as they are."""
        return self._run(data, _PACK)

    def unpack(self, data: bytes) -> bytes:
        """The same with arrays that anybody reads."""
        return self._run(data, _UNPACK)

    def _run(self, data: bytes, options: tuple[str, ...]) -> bytes:
        """Raises ProductError where it gives up."""
        with TemporaryDirectory() as folder:
            given, made = Path(folder, "in.glb"), Path(folder, "out.glb")
            given.write_bytes(data)
            command = ["node", str(self._program), "-i", str(given), "-o", str(made), *_KEEP, *options]
            with _giving_up("gltfpack"):
                subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
                return made.read_bytes()


@contextmanager
def _giving_up(package: str) -> Iterator[None]:
    """Let what a package did not do become a ProductError, with the last line that it wrote."""
    try:
        yield
    except (subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
        said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
        raise ProductError(f"{package} gave up ({said[-1] if said else error}).") from error
