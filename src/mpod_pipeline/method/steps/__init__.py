"""The method's steps, in order. Each is declared here, once.

A step knows neither Kedro nor catalogs. The module of its name beside this file has ``Settings``, the class of its
settings, and ``make``, which makes one product's artifacts. It may have ``load``, which loads its models, once per
worker; ``check``, which looks at them before any product; and ``unused``: the inputs and priors that it does without
under its settings, on which its results do not depend then.
All other lists of steps follow from `STEPS`: Kedro's nodes and pipelines, the check before a run, ``kedro status``, the
scores of the priors, and the ablations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.report import Report, no_report

if TYPE_CHECKING:  # commands that compute nothing shall not wait for PyTorch
    from mpod_pipeline.base.parameters import Parameters
    from mpod_pipeline.base.weights import Weights


@dataclass(frozen=True)
class Given:
    """What a step gets to make one product's artifacts.

    product: its id, as the catalog writes it. inputs: by the names in `Step.needs`; None for an optional one that is
    absent. settings: the step's, with the product's own in their places. checkpoint: where long work keeps its state.
    fingerprint: of all that the result depends on.
    """

    product: str
    inputs: Mapping[str, Any]
    settings: Any
    seed: int = 0
    report: Report = no_report
    checkpoint: Checkpoint | None = None
    fingerprint: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.inputs[name]

    @property
    def how(self) -> tuple[Any, int, Report, Checkpoint | None]:
        """Settings, seed, report and checkpoint: what each optimisation takes in this order."""
        return self.settings, self.seed, self.report, self.checkpoint


@dataclass(frozen=True)
class Memory:
    """What a step takes of a GPU, worked out by ``benchmarks/gpu_memory.py``.

    pictures: the setting that says how many pictures go through the prior at a time. gib_per_megapixel: of each, at the
    prior's own size. sliced_gib_per_megapixel: of each after the first, where the autoencoder works picture by picture.
    rendering_gib: of drawing one at conf/gpu's resolution, with its gradient and by the backend ``torch``: 400,000
    samples at 128², or 260,000 triangles at 1024².
    """

    pictures: str
    gib_per_megapixel: float
    sliced_gib_per_megapixel: float
    rendering_gib: float = 0.0

    def gib(self, pictures: int, size: int, vae_slicing: bool) -> float:
        """Of so many pictures of ``size`` pixels square."""
        further = self.sliced_gib_per_megapixel if vae_slicing else self.gib_per_megapixel
        prior = (self.gib_per_megapixel + (pictures - 1) * further) * (size / 1024) ** 2
        return prior + pictures * self.rendering_gib


@dataclass(frozen=True)
class Step:
    """One step of the method.

    name: of its module, its node, its pipeline and its records. section: of the settings. needs: for each name under
    which `make` gets an input, the artifact, or the catalog's file, that it is. The first one says which products there
    are. optional: inputs that a product may lack. makes: its artifacts. shown: those that people look at. priors: the
    weights that it loads, by their names in the catalog. code_version: to be raised when a change of the code changes
    what the step makes, so that it is made again. package: where its module is.
    """

    name: str
    section: str
    needs: Mapping[str, str]
    makes: tuple[str, ...]
    code_version: int
    priors: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    shown: tuple[str, ...] = ()
    memory: Memory | None = field(default=None, compare=False)
    package: str = __name__

    @property
    def module(self) -> str:
        """The name of its module, which imports what it takes to make anything."""
        return f"{self.package}.{self.name}"

    @property
    def settings(self) -> type[Parameters]:
        return self._module.Settings

    @property
    def purpose(self) -> str:
        """The first line of its module's docstring."""
        return (self._module.__doc__ or "").splitlines()[0]

    def unused(self, settings: Parameters) -> frozenset[str]:
        """The inputs, by their names in `needs`, and the priors that it does without under these settings."""
        unused: Callable[[Parameters], frozenset[str]] | None = getattr(self._module, "unused", None)
        return unused(settings) if unused else frozenset()

    def load(self, settings: Parameters, priors: Mapping[str, Weights] | None = None) -> Any:
        """Its models, if it has some. priors: the weights of those that are not unused.

        Raises SetupError naming what is missing.
        """
        load: Callable[..., Any] | None = getattr(self._module, "load", None)
        if load is None:
            return None
        return load(settings, priors or {}) if self.priors else load(settings)

    def make(self, models: Any, given: Given) -> dict[str, Any]:
        """One product's artifacts, by name. Raises ProductError where the product is at fault."""
        return self._module.make(models, given)

    def check(self, models: Any, settings: Parameters) -> None:
        """Look further than `load` does, before any product is touched. Raises SetupError."""
        check: Callable[[Any, Parameters], None] | None = getattr(self._module, "check", None)
        if check:
            check(models, settings)

    @property
    def _module(self) -> Any:
        return import_module(self.module)


STEPS: tuple[Step, ...] = (
    Step(
        "segment",
        section="segmentation",
        needs={"photo": "photos", "mask": "photo_masks", "further_photos": "further_photos"},
        optional=frozenset({"mask", "further_photos"}),
        makes=("cutouts", "cutout_checks"),
        shown=("cutouts",),
        code_version=10,
    ),
    Step(
        "learn_tokens",
        section="textual_inversion",
        needs={"cutouts": "cutouts"},
        priors=("text_to_image_prior",),
        makes=("tokens", "word_checks", "words"),
        shown=("words",),
        code_version=4,
        memory=Memory("batch_size", 3.0, 3.0),
    ),
    Step(
        "optimize_outline",
        section="outline",
        needs={"cutouts": "cutouts", "token": "tokens"},
        priors=("novel_view_prior", "text_to_image_prior"),
        makes=("outline_fields", "aligned_photos"),
        code_version=13,
        memory=Memory("novel_views", 6.4, 0.5, 0.7),
    ),
    Step("export_masks", section="masks", needs={"field": "outline_fields"}, makes=("outline_masks",), code_version=1),
    Step(
        "refine_detail",
        section="detail",
        needs={"photos": "aligned_photos", "token": "tokens", "field": "outline_fields", "masks": "outline_masks"},
        priors=("text_to_image_prior", "novel_view_prior"),
        makes=("detail_models",),
        code_version=10,
        memory=Memory("novel_views", 6.4, 0.5, 0.4),
    ),
    Step(
        "export_models",
        section="export",
        needs={"detail": "detail_models", "photos": "aligned_photos"},
        makes=("meshes",),
        shown=("meshes",),
        code_version=6,
    ),
    Step(
        "evaluate",
        section="evaluation",
        needs={
            "mesh": "meshes",
            "photos": "aligned_photos",
            "cutout_check": "cutout_checks",
            "word_check": "word_checks",
            "field": "outline_fields",
            "ground_truth": "ground_truth",
        },
        optional=frozenset({"ground_truth"}),
        makes=("evaluations", "turntables", "normals", "animations"),
        shown=("turntables", "normals", "animations"),
        code_version=9,
    ),
)

#: What scores a method's models beside those of others, by their views alone; after the steps up to `export_models`.
COMPARING_STEPS: tuple[Step, ...] = (
    Step(
        "draw_views",
        section="drawing",
        needs={"mesh": "meshes", "detail": "detail_models", "field": "outline_fields", "photos": "aligned_photos"},
        makes=("model_views",),
        code_version=1,
    ),
    Step(
        "score_views",
        section="evaluation",
        needs={"views": "model_views", "photos": "aligned_photos", "ground_truth": "ground_truth"},
        optional=frozenset({"ground_truth"}),
        makes=("view_scores",),
        code_version=1,
    ),
)

STEP_BY_NAME = {step.name: step for step in STEPS}
#: The step that makes each artifact.
MAKER_OF = {artifact: step for step in STEPS for artifact in step.makes}


def load_models(
    steps: Iterable[Step], settings: Mapping[str, Parameters], priors: Mapping[str, Weights]
) -> dict[str, Any]:
    """Every step's models, by its name. settings: by section. Raises SetupError naming what is missing."""
    models = {}
    for step in steps:
        own = settings[step.section]
        used = [name for name in step.priors if name not in step.unused(own)]
        models[step.name] = step.load(own, {name: priors[name] for name in used})
    return models


def run_steps(
    steps: Iterable[Step],
    models: Mapping[str, Any],
    settings: Mapping[str, Parameters],
    artifacts: Mapping[str, Any],
    *,
    product: str = "product",
    seed: int = 0,
    report: Report = no_report,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Take one product through steps: all its artifacts by name, those given among them; and each step's seconds.

    Raises ProductError where the product is at fault.
    """
    known, seconds = dict(artifacts), {}
    for step in steps:
        started = time.perf_counter()
        unused = step.unused(settings[step.section])
        inputs = {
            name: known.get(artifact) if name in step.optional else known[artifact]
            for name, artifact in step.needs.items()
            if name not in unused
        }
        known |= step.make(models[step.name], Given(product, inputs, settings[step.section], seed, report))
        seconds[step.name] = time.perf_counter() - started
    return known, seconds
