"""A disk that fills up in the middle of a batch, and gets room again."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kedro.io import DatasetError

from mpod_pipeline.base import atomic
from tests.batch.conftest import Toy

PHOTOS = {product: product for product in "abcdef"}
BLOCK = 4096  # what a file takes at least
#: Room for the files of some products' first step, and then for some of the second step's too.
SIZES = (7 * BLOCK, 22 * BLOCK)


def used(folder: Path) -> int:
    return BLOCK * sum(path.is_file() for path in folder.rglob("*"))


@pytest.fixture(params=["a small file system", "a quota"])
def limit(request: pytest.FixtureRequest, toy: Toy) -> Iterator[Callable[[int], None]]:
    """Sets the bytes that there is room for in the workspace."""
    toy.workspace.mkdir()
    if request.param == "a quota":  # for those who may not mount: told, as quotas are, when data has to reach the disk
        room = 0

        def flush(path: Path) -> None:
            if used(toy.workspace) > room:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

        def set_room(size: int) -> None:
            nonlocal room
            room = size

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(atomic, "_flush", flush)
            yield set_room
        return

    def mount(options: str) -> subprocess.CompletedProcess[str]:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(toy.workspace)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    try:
        mounted = mount(f"size={SIZES[0]}")
    except FileNotFoundError as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    if mounted.returncode:
        pytest.skip(f"nothing may be mounted here: {mounted.stderr.strip()}")
    yield lambda size: mount(f"remount,size={size}").check_returncode()
    subprocess.run(["umount", str(toy.workspace)], check=True)


def test_a_full_disk_stops_the_run_and_harms_nothing(toy: Toy, limit: Callable[[int], None]) -> None:
    toy.write(**PHOTOS)
    done = []
    for size, reached in zip(SIZES, ("read", "shout"), strict=True):
        limit(size)
        with pytest.raises(DatasetError, match=r"No space left|[Qq]uota exceeded"):
            toy.run()
        steps = [step for step, _ in toy.done]
        assert steps[-1] == reached and steps.count(reached) < len(PHOTOS)
        done += toy.done
        for path in toy.workspace.rglob("[!.]*.json"):
            json.loads(path.read_text())
    limit(100 * max(SIZES))
    done += toy.run()
    lost = len(done) - 2 * len(PHOTOS)
    assert 0 <= lost <= len(SIZES)  # only what had no room was made a second time
    for product, text in PHOTOS.items():
        assert json.loads((toy.workspace / f"shouts/{product}.json").read_text())[0] == text.upper() + "!"
    assert toy.run() == []
