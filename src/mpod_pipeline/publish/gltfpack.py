"""gltfpack, an npm package that Node.js runs: it packs a GLB's geometry by meshopt, and unpacks it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from mpod_pipeline.base.errors import ProductError, SetupError

#: Where npm puts it.
GLTFPACK = Path("node_modules/gltfpack")
#: Seconds that one file may take.
PATIENCE_S = 120
#: Positions and UVs stay floats, or a node would scale the model and a texture's transform its UVs; names and extras
#: stay. 14 bits of a UV are a quarter of a texel of 2048.
_KEEP = ("-kn", "-km", "-ke")
_PACK = ("-cc", "-ce", "ext", "-vpf", "-vtf", "-vt", "14")
_UNPACK = ("-noq",)


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
            try:
                subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
                return made.read_bytes()
            except (subprocess.SubprocessError, OSError) as error:
                said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
                raise ProductError(f"gltfpack gave up ({said[-1] if said else error}).") from error
