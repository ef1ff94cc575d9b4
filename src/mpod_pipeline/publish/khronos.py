"""Khronos' glTF validator, an npm package that Node.js runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from mpod_pipeline.base.errors import ProductError, SetupError

#: Seconds that one file may take.
PATIENCE_S = 120
#: The severity of an error in a report.
ERROR = 0
_VALIDATE = """
const validator = require(process.argv[1]);
const data = require('fs').readFileSync(0);
validator.validateBytes(new Uint8Array(data)).then(report => console.log(JSON.stringify(report.issues)));
"""


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
    try:
        done = subprocess.run(command, input=glb, capture_output=True, timeout=PATIENCE_S, check=True)
        messages = json.loads(done.stdout)["messages"]
    except (subprocess.SubprocessError, ValueError, KeyError) as error:
        said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
        raise ProductError(f"Khronos' validator gave up ({said[-1] if said else error}).") from error
    return [f"{message['message']} ({message['pointer']})" for message in messages if message["severity"] == ERROR]
