"""A folder that is to hold certain files."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro_datasets._typing import JSONPreview

from mpod_pipeline.base.atomic import told_what_cannot_be_written, whole_file
from mpod_pipeline.datasets.place import AtPath


class FolderOfFiles(AtPath[Mapping[str, Path | bytes], Path]):
    """Saved as a mapping from a file's place within the folder to its bytes, or to the file that it is a copy of;
    loaded as the folder's path. A file that is already so is left alone.

    others: whether files that the mapping does not name may stay; else they are removed. page: of the files, the one
    that people open; ``path`` is its place then.
    """

    def __init__(
        self, *, folder: str, others: bool, page: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.folder = Path(folder)
        super().__init__(path=str(self.folder / (page or "")), metadata=metadata)
        self._others = others

    def load(self) -> Path:
        return self.folder

    def save(self, data: Mapping[str, Path | bytes]) -> None:
        with told_what_cannot_be_written(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._others:
                self._remove_all_but(set(data))
            for name, content in data.items():
                _bring(content, self.folder / name)

    def preview(self) -> JSONPreview:
        """Where it is, and how many files it has, for Kedro-Viz."""
        count = sum(path.is_file() for path in self.folder.rglob("*"))
        return JSONPreview(json.dumps({"open": self.path.absolute().as_uri(), "files": count}))

    def _remove_all_but(self, names: set[str]) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir():
                with suppress(OSError):  # what is not empty stays
                    path.rmdir()
            elif path.relative_to(self.folder).as_posix() not in names:
                path.unlink()

    def _exists(self) -> bool:
        return self.folder.is_dir()


def _bring(content: Path | bytes, target: Path) -> None:
    if isinstance(content, bytes):
        if not target.is_file() or target.read_bytes() != content:
            with whole_file(target) as path:
                path.write_bytes(content)
    elif not target.is_file() or not (os.path.samefile(content, target) or filecmp.cmp(content, target, shallow=False)):  # noqa: PTH121
        with whole_file(target) as path:
            path.unlink(missing_ok=True)
            try:
                path.hardlink_to(content)  # costs no room
            except OSError:
                shutil.copyfile(content, path)
