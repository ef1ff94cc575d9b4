"""Before any product is touched: is everything there that this run's steps need, and does it work?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from mpod_pipeline.base.errors import SetupError, noted
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.base.weights import Weights
from mpod_pipeline.batch import BatchParameters
from mpod_pipeline.datasets import Photos
from mpod_pipeline.datasets.loading import load_from
from mpod_pipeline.method.steps import Step
from mpod_pipeline.publish.steps import EVERY_STEP_BY_NAME, TargetStep
from mpod_pipeline.rendering.backend import require_device

logger = logging.getLogger(__name__)

GIB = 2**30
#: What lies on a GPU beside weights and activations: CUDA's context (0.5), field, texture and grid with their gradients
#: and optimiser's state (0.9), the two states that an optimisation keeps to go back to and the one that it is making
#: (1.2), and what the allocator cannot use.
BESIDE_GIB = 3.0


def check_run(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Look at the photos, load the models of the steps in ``pipeline`` and of no other, and let each step check them.

    Where Ray's workers do the work, which may sit on other machines, only the files are looked at: what a worker's GPU
    lacks, it says when it loads its models, before its first product.

    Raises one SetupError that names everything that is missing and what to do about it.
    """
    if "photos" in pipeline.inputs():
        photos: Photos = load_from(catalog, "photos")
        for remark in photos.remarks:
            logger.warning("%s", remark)
    lacks: list[str] = []
    for check in _checks(pipeline, catalog):
        with noted(lacks):
            check()
    lacks = list(dict.fromkeys("\n".join(lacks).splitlines()))
    if len(lacks) == 1:
        raise SetupError(lacks[0])
    if lacks:
        raise SetupError("This run cannot start.\n" + "\n".join(f"- {lack}" for lack in lacks))


def _checks(pipeline: Pipeline, catalog: CatalogProtocol) -> Iterator[Callable[[], object]]:
    look_only = _works_elsewhere(pipeline, catalog)
    named = ((EVERY_STEP_BY_NAME.get(node.name.rpartition(".")[2]), node) for node in pipeline.nodes)
    steps = [(step, _settings_of(step, node)) for step, node in named if step and _is_chosen(step, node, catalog)]
    used = {settings: _used(step, catalog.load(settings)) for step, settings in steps}
    for priors in dict.fromkeys(used.values()):  # each is loaded once, and a GPU may not hold all
        opened: dict[Any, Any] = {}
        for step, settings in steps:
            if used[settings] == priors:
                yield partial(_check_step, step, settings, catalog, look_only, opened)


def _used(step: Step, settings: Parameters) -> tuple[str, ...]:
    """The priors that it loads under its settings."""
    unused = step.unused(settings)
    return tuple(name for name in step.priors if name not in unused)


def _settings_of(step: Step, node: Node) -> str:
    """The name of the step's settings: in a comparison, those of a method."""
    names = {name for name in node.inputs if name.startswith("params:")}
    plain = f"params:{step.section}"
    return next((name for name in names if name.endswith(f".{step.section}")), plain)


def _is_chosen(step: Step, node: Node, catalog: CatalogProtocol) -> bool:
    if isinstance(step, TargetStep):
        return step.target in catalog.load("params:publish").targets
    return node.namespace is None or node.namespace in catalog.load("params:compare").methods


def _works_elsewhere(pipeline: Pipeline, catalog: CatalogProtocol) -> bool:
    if "params:batch" not in pipeline.inputs():
        return False
    batch: BatchParameters = catalog.load("params:batch")
    return batch.executor.kind == "ray"


def _check_step(
    step: Step, settings_name: str, catalog: CatalogProtocol, look_only: bool, opened: dict[Any, Any]
) -> None:
    settings: Parameters = catalog.load(settings_name)
    priors: dict[str, Weights] = {name: load_from(catalog, name) for name in _used(step, settings)}
    if not opened:
        for weights in priors.values():
            weights.verify()
    priors = {name: replace(weights, opened=opened) for name, weights in priors.items()}
    if look_only:
        step.load(on_cpu(settings), {name: replace(weights, device="cpu") for name, weights in priors.items()})
        return
    for weights in priors.values():
        require_device(weights.device)
    torch.cuda.empty_cache()  # of the models looked at before
    models = step.load(settings, priors)
    step.check(models, settings)
    leading = next(iter(priors.values()), None)
    if leading and leading.device.startswith("cuda"):
        free = torch.cuda.mem_get_info(torch.device(leading.device))[0]
        check_memory(step, settings, models.prior.image_size, leading.vae_slicing, free)


def on_cpu(parameters: Parameters) -> Parameters:
    """The same, with every ``device`` in it the CPU."""
    changed = {
        name: "cpu" if name == "device" else on_cpu(value)
        for name, value in parameters
        if name == "device" or isinstance(value, Parameters)
    }
    return parameters.model_copy(update=changed)


def check_memory(step: Step, settings: Any, size: int, vae_slicing: bool, free: int) -> None:
    """Raise SetupError unless what a step does at a time fits beside its models into a GPU, of which so many bytes are
    free. size: pixels of the prior's pictures.
    """
    if step.memory is None:
        return
    pictures = getattr(settings, step.memory.pictures)
    step_gib = step.memory.gib(pictures, size, vae_slicing)
    if (step_gib + BESIDE_GIB) * GIB > free:
        raise SetupError(
            f"{step.name} needs about {step_gib + BESIDE_GIB:.1f} GiB of the GPU beside its weights ({pictures} "
            f"pictures at a time {step_gib:.1f}, other {BESIDE_GIB}), and {free / GIB:.1f} GiB are free: make "
            f"{step.section}.{step.memory.pictures} smaller, or see docs/gpu.md."
        )
