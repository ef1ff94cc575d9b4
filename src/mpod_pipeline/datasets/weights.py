"""A folder of network weights: named in the catalog, opened by the step that needs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro.utils import find_kedro_project

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.weights import Weights

#: What a prior consists of, out of all that a repository on the Hugging Face hub may hold besides. (Pickles too: some
#: hold nothing else.)
DOWNLOAD = (
    "hf download {hub}{revision} --include '*/*' --exclude '*.fp16.*' "
    "--exclude '*.non_ema.*' --exclude 'safety_checker/*'{folder}"
)


def _in_project(file: str) -> Path:
    """As Kedro reads a ``path``: from the project's folder, wherever the run is started."""
    return (find_kedro_project(Path.cwd()) or Path.cwd()) / Path(file).expanduser()


#: Writes a network's files into a folder.
WriteWeights = Callable[[Path], None]


class WeightsFolder(AbstractDataset[WriteWeights, Weights]):
    """A folder in diffusers' format: ``path``, or else the hub client's own cache of the repository ``hub``.

    hub, revision: the repository on the Hugging Face hub and its commit, from which a folder that is missing comes. A
    run never downloads: it says the command that does. device: where the network is to be, as PyTorch names it. sha256,
    vae_slicing, adapters: see `Weights`. Where the folder does not exist, the `Weights` say so to who opens them.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        hub: str | None = None,
        revision: str | None = None,
        sha256: dict[str, str] | None = None,
        device: str = "cpu",
        vae_slicing: bool = False,
        adapters: Sequence[str] = (),
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if path is None and (hub is None or revision is None):
            raise SetupError("A folder of weights needs a path, or a hub repository with its revision.")
        self._path = Path(path) if path else None
        self.hub, self.revision = hub, revision
        self.sha256 = sha256 or {}
        self.device = device
        self.vae_slicing = vae_slicing
        self.adapters = tuple(map(_in_project, adapters))
        self.metadata = metadata

    @property
    def path(self) -> Path:
        """The folder; raises SetupError if it is in the hub client's cache and not there yet."""
        return self._path or self._cached()

    def load(self) -> Weights:
        """Also where they are not there: that is for who opens them to say."""
        missing = ""
        try:
            if not self._exists():
                missing = f"There are no weights at {self._path or self.hub}; get them by: {self.command}"
        except SetupError as error:
            missing = str(error)
        place = Path(str(self._path or self.hub)) if missing else self.path
        return Weights(place, self.device, self.vae_slicing, self.sha256, self.adapters, missing=missing)

    @property
    def command(self) -> str:
        """What brings the weights here."""
        if self.hub is None:
            return "kedro run --pipeline=train_priors --params=priors=FOLDER"
        revision = f" --revision {self.revision}" if self.revision else ""
        folder = f" --local-dir '{self._path}'" if self._path else ""
        return DOWNLOAD.format(hub=self.hub, revision=revision, folder=folder)

    def _cached(self) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(snapshot_download(str(self.hub), revision=self.revision, local_files_only=True))
        except LocalEntryNotFoundError as error:
            raise SetupError(
                f"{self.hub} at {self.revision} is not in the hub's cache; get it by: {self.command}"
            ) from error

    def save(self, data: WriteWeights) -> None:
        """Let ``data`` write the files aside; then they take the old ones' place."""
        self._exists()
        shutil.rmtree(self._aside("new"), ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data(self._aside("new"))
        if self.path.exists():
            self.path.rename(self._aside("old"))
        self._aside("new").rename(self.path)
        shutil.rmtree(self._aside("old"), ignore_errors=True)

    def _aside(self, kind: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{kind}")

    def _exists(self) -> bool:
        if self._path is None:
            return self._cached().is_dir()
        if self._aside("old").is_dir():  # a save was killed before or after the new files took their place
            if self.path.is_dir():
                shutil.rmtree(self._aside("old"))
            else:
                self._aside("old").rename(self.path)
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path or self.hub), "revision": self.revision, "device": self.device}
