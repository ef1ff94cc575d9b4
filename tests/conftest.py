"""What tests of several folders need."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NODE_FOLDER = Path(__file__).parent / ".node"
VALIDATOR = "2.0.0-dev.3.10"
VALIDATE = """
const validator = require('gltf-validator');
const data = new Uint8Array(require('fs').readFileSync(process.argv[1]));
validator.validateBytes(data).then(report => console.log(JSON.stringify(report)));
"""


@pytest.fixture(scope="session")
def khronos_report() -> Callable[[Path], dict[str, Any]] | None:
    """What Khronos' validator says of a GLB. It comes from npm, kept beside the tests; None where it cannot."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    if not (NODE_FOLDER / "node_modules" / "gltf-validator").exists():
        NODE_FOLDER.mkdir(exist_ok=True)
        command = ["npm", "install", "--no-save", "--prefix", str(NODE_FOLDER), f"gltf-validator@{VALIDATOR}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            return None

    def report(glb: Path) -> dict[str, Any]:
        command = ["node", "-e", VALIDATE, str(glb)]
        done = subprocess.run(command, cwd=NODE_FOLDER, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return report
