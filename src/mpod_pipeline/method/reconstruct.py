"""The method as a function: a photo in, a textured 3D model out, without Kedro and catalogs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.report import Report, no_report
from mpod_pipeline.base.weights import Weights
from mpod_pipeline.cutout.photo_file import SIDES, PhotoFile
from mpod_pipeline.geometry.glb_file import GlbFile
from mpod_pipeline.method.steps import STEPS, load_models, run_steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Where a clone of the project has the small priors.
SHIPPED_PRIORS = "data/06_models/priors"


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """A product's model, and all that the steps made on the way to it.

    artifacts: by their names in the catalog. seconds: of each step, without its models' loading.
    """

    artifacts: Mapping[str, Any]
    seconds: Mapping[str, float]

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {self.scores[name]:.3g}" for name in ("photo_psnr", "photo_iou"))
        return f"Reconstruction in {sum(self.seconds.values()):.0f} s: {scores}; {', '.join(self.artifacts)}"

    @property
    def glb(self) -> GlbFile:
        """The model as a GLB; ``glb.save("shoe.glb")`` writes it."""
        return GlbFile(self.artifacts["meshes"])

    @property
    def scores(self) -> dict[str, float | int | bool | str]:
        """The scores by name, and in ``flags`` what somebody should look at."""
        return dict(self.artifacts["evaluations"])

    @property
    def turntable(self) -> NDArray[np.uint8]:
        """The photo, then the model from all round, from above and below, [H, W, 3]."""
        return self.artifacts["turntables"]


def reconstruct(
    photo: str | Path | bytes,
    *,
    further: Mapping[str, str | Path] | None = None,
    priors: str | Path = SHIPPED_PRIORS,
    device: str = "cpu",
    seed: int = 0,
    report: Report = no_report,
    **settings: Mapping[str, Any],
) -> Reconstruction:
    """Turn one product photo into a textured 3D model.

    Args:
        photo: The photo's file, or its bytes: one product, upright, from the side that a shop shows first.
        further: Photos of its other sides: ``{"back": FILE, "left": FILE, "right": FILE}``, any of them; left and right
            as who looks at the front sees them.
        priors: The folder of the priors' weights, with ``text_to_image`` and ``novel_view`` in it. By default those
            that a clone of the project has, seen from the clone's folder.
        device: Where the priors are to be, as PyTorch names it.
        seed: Equal seeds, settings and priors give equal models.
        report: Called after each step of an optimisation.
        **settings: By section, as in ``conf/base`` and ``--params``: ``outline={"steps": 400}``.

    Raises:
        ProductError: The photo cannot be read, shows no product, or an optimisation diverges.
        SetupError: Weights are missing, or there is no such section of settings, or no such side.
        pydantic.ValidationError: A setting has an unknown name or a value out of bounds.

    Example:
        >>> model = reconstruct("data/01_raw/kite-mug.png")  # doctest: +SKIP
        >>> model.glb.save("mug.glb")  # doctest: +SKIP
    """
    sections = {step.section: step.settings for step in STEPS}
    if wrong := (further or {}).keys() - SIDES.keys():
        raise SetupError(f"There is no side {', '.join(sorted(wrong))}; there are {', '.join(SIDES)}.")
    if unknown := settings.keys() - sections.keys():
        raise SetupError(f"There is no section {', '.join(sorted(unknown))}; there are {', '.join(sections)}.")
    chosen = {name: model.model_validate(settings.get(name, {})) for name, model in sections.items()}
    data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
    product = "product" if isinstance(photo, bytes) else Path(photo).stem
    folders = {name: Path(priors) / name.removesuffix("_prior") for step in STEPS for name in step.priors}
    models = load_models(STEPS, chosen, {name: Weights(path, device) for name, path in folders.items()})
    sides = [PhotoFile(Path(path).read_bytes(), None, name, SIDES[name]) for name, path in (further or {}).items()]
    given = {"photos": data, "further_photos": sides}
    artifacts, seconds = run_steps(STEPS, models, chosen, given, product=product, seed=seed, report=report)
    return Reconstruction(artifacts, seconds)
