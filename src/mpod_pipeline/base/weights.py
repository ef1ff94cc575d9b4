"""Where a prior's weights are, and how to load them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mpod_pipeline.base.errors import SetupError

Prior = TypeVar("Prior")


@dataclass(frozen=True)
class Weights:
    """A prior's folder, and the device to load it to. It is loaded once per worker, and only if some product needs it.

    sha256: what files of the folder, by relative name, are expected to hold; those not named are not compared.
    vae_slicing: whether its autoencoder is to work picture by picture, in less memory and more time. adapters: files of
    what its U-Net has learnt besides. opened: what was loaded from here, for who asks several times; None: nothing is
    kept. missing: a sentence where they are not there, for who asks for them; a step may have no use for a prior.
    """

    folder: Path
    device: str
    vae_slicing: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[Path, ...] = ()
    opened: dict[Any, Any] | None = field(default=None, repr=False, compare=False)
    missing: str = ""

    @property
    def path(self) -> Path:
        """The folder. Raises SetupError where it is not there."""
        if self.missing:
            raise SetupError(self.missing)
        return self.folder

    @property
    def places(self) -> list[Path]:
        """All that its answers depend on: the folder and the adapters. Raises SetupError where they are not there."""
        return [self.path, *self.adapters]

    def verify(self) -> None:
        """Compare the named files with their hashes. Raises SetupError where one is missing or another, or all are."""
        folder = self.path
        from mpod_pipeline.base.weights_files import check_sha256  # with PyTorch, which the catalog does without

        for name, expected in self.sha256.items():
            if not (folder / name).is_file():
                raise SetupError(f"The weights at {folder} lack {name}, whose SHA-256 the catalog names.")
            check_sha256(folder / name, expected)

    def open(self, load: Callable[..., Prior], **options: Any) -> Prior:
        """The prior, by one of the loaders in `priors.loading`. Raises SetupError naming what is missing."""
        folder = self.path
        opened = {} if self.opened is None else self.opened
        key = (load, *sorted(options.items()))
        if key not in opened:
            how = {"device": self.device, "vae_slicing": self.vae_slicing, "adapters": self.adapters}
            opened[key] = load(folder, **how, **options)
        return opened[key]
