"""Before any product is touched: is everything there that this run's stages need, and does it work?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from mpod_pipeline.batch import BatchParameters
from mpod_pipeline.datasets import Photos, Weights
from mpod_pipeline.datasets.loading import load_from
from mpod_pipeline.errors import SetupError
from mpod_pipeline.fields.hash_encoding import HashGridParameters
from mpod_pipeline.fields.outline_field import OutlineField, OutlineFieldParameters
from mpod_pipeline.geometry.dmtet import DMTet
from mpod_pipeline.geometry.tetrahedra import box_grid
from mpod_pipeline.method.evaluation import load_encoders
from mpod_pipeline.method.segmentation import load_segmentation_models
from mpod_pipeline.parameters import Parameters
from mpod_pipeline.priors import load_mask_controlnet, load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.rendering.backend import Backend, choose_backend, require_device
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize
from mpod_pipeline.rendering.volume import draw_jitter, make_volume_renderer, render_rays

logger = logging.getLogger(__name__)

GIB = 2**30
#: What lies on a GPU beside weights and activations: CUDA's context (0.5), field, texture and grid with their gradients
#: and optimiser's state (0.9), the two states that an optimisation keeps to go back to and the one that it is making
#: (1.2), and what the allocator cannot use.
BESIDE_GIB = 3.0


@dataclass(frozen=True)
class Demand:
    """What a stage asks of a GPU: its prior and settings, by name in the catalog, and the memory of its steps.

    gib_per_megapixel: of each picture that a step takes through the prior, of the prior's own size; worked out by
    ``benchmarks/gpu_memory.py``. sliced_gib_per_megapixel: of each after the first, where the autoencoder works picture
    by picture. rendering_gib: of drawing one picture at conf/gpu's resolution, with its gradient and by the backend
    ``torch``: 400,000 samples at 128², or 260,000 triangles at 1024². Worked out in the same way.
    pictures: the setting that says how many these are.
    """

    prior: str
    parameters: str
    gib_per_megapixel: float
    sliced_gib_per_megapixel: float
    rendering_gib: float
    pictures: str

    def step_gib(self, pictures: int, size: int, vae_slicing: bool) -> float:
        """Of a step with so many pictures of ``size`` pixels square."""
        further = self.sliced_gib_per_megapixel if vae_slicing else self.gib_per_megapixel
        prior = (self.gib_per_megapixel + (pictures - 1) * further) * (size / 1024) ** 2
        return prior + pictures * self.rendering_gib


DEMANDS = {
    "learn_tokens": Demand("text_to_image_prior", "params:textual_inversion", 3.0, 3.0, 0.0, "batch_size"),
    "optimize_outline": Demand("novel_view_prior", "params:outline", 6.4, 0.5, 0.7, "novel_views"),
    "refine_detail": Demand("text_to_image_prior", "params:detail", 6.4, 0.5, 0.4, "novel_views"),
}
PRIORS: dict[str, Callable[..., Any]] = {
    "text_to_image_prior": load_text_to_image_prior,
    "novel_view_prior": load_novel_view_prior,
}
#: What else is loaded by which settings, one by one, so that each can be found missing.
MODELS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("params:segmentation", load_segmentation_models),
    ("params:evaluation", lambda p: load_encoders(p.model_copy(update={"vgg19_weights": None}))),
    (
        "params:evaluation",
        lambda p: p.vgg19_weights and load_encoders(p.model_copy(update={"open_clip": None})),
    ),
)


def check_run(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Look at the photos, open every weight and try every backend that the nodes of ``pipeline`` use, and no
    other.

    Where Ray's workers do the work, which may sit on other machines, only the files are looked at: what a worker's GPU
    lacks, it says when it loads its models, before its first product.

    Raises one SetupError that names everything that is missing and what to do about it.
    """
    if "photos" in pipeline.inputs():
        photos: Photos = load_from(catalog, "photos")
        for remark in photos.remarks:
            logger.warning("%s", remark)
    lacks: dict[str, None] = {}  # each once, in order
    for check in _checks(pipeline, catalog):
        try:
            check()
        except SetupError as error:
            lacks[str(error)] = None
    if len(lacks) == 1:
        raise SetupError(next(iter(lacks)))
    if lacks:
        raise SetupError("This run cannot start.\n" + "\n".join(f"- {lack}" for lack in lacks))


def _checks(pipeline: Pipeline, catalog: CatalogProtocol) -> Iterator[Callable[[], object]]:
    inputs = pipeline.inputs()
    works_here = _works_here(pipeline, catalog)
    for name, load in MODELS:
        if name in inputs:
            parameters = catalog.load(name)
            yield partial(load, parameters if works_here else on_cpu(parameters))
    for name, load in PRIORS.items():
        if name in inputs:
            yield partial(_check_prior, name, load, pipeline, catalog)
    if not works_here:
        return
    for parameters, prior, attempt in PIECES_OF_WORK:
        if parameters in inputs and prior in inputs:
            yield partial(_try_backend_of, parameters, prior, attempt, catalog)


def on_cpu(parameters: Parameters) -> Parameters:
    """The same, with every ``device`` in it the CPU."""
    changed = {
        name: "cpu" if name == "device" else on_cpu(value)
        for name, value in parameters
        if name == "device" or isinstance(value, Parameters)
    }
    return parameters.model_copy(update=changed)


def _works_here(pipeline: Pipeline, catalog: CatalogProtocol) -> bool:
    if "params:batch" not in pipeline.inputs():
        return True
    batch: BatchParameters = catalog.load("params:batch")
    return batch.executor.kind != "ray"


def _check_prior(name: str, load: Callable[..., Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    weights: Weights = load_from(catalog, name)
    weights.verify()
    demands = {node.name: DEMANDS[node.name] for node in pipeline.nodes if node.name in DEMANDS}
    users = {stage: demand for stage, demand in demands.items() if demand.prior == name}
    device = weights.device if _works_here(pipeline, catalog) else "cpu"
    torch.cuda.empty_cache()  # of the models looked at before
    free = free_memory(device)
    prior = load(weights.path, device=device)
    networks = [prior]
    if "refine_detail" in users and (controlnet := catalog.load("params:detail").controlnet):
        networks.append(load_mask_controlnet(controlnet, prior))
    if free is None:
        return
    weighs = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
    for stage, demand in users.items():
        pictures = getattr(catalog.load(demand.parameters), demand.pictures)
        step_gib = demand.step_gib(pictures, prior.image_size, weights.vae_slicing)
        check_memory(stage, demand, weighs, pictures, step_gib, free)
    del prior, networks
    torch.cuda.empty_cache()


def free_memory(device: str) -> int | None:
    """Free bytes of a GPU; None for another device. Raises SetupError where there is no GPU."""
    if require_device(device).type != "cuda":
        return None
    return torch.cuda.mem_get_info(torch.device(device))[0]


def check_memory(stage: str, demand: Demand, weighs: int, pictures: int, step_gib: float, free: int) -> None:
    """Raise SetupError unless a stage's weights (bytes) and steps of so many pictures fit into a GPU's free bytes."""
    need = weighs / GIB + step_gib + BESIDE_GIB
    if need * GIB > free:
        settings = demand.parameters.removeprefix("params:")
        raise SetupError(
            f"{stage} needs about {need:.1f} GiB of the GPU (weights {weighs / GIB:.1f}, a step of {pictures} pictures "
            f"{step_gib:.1f}, other {BESIDE_GIB}), and {free / GIB:.1f} GiB are free: make "
            f"{settings}.{demand.pictures} smaller, or see docs/gpu.md."
        )


def _try_backend_of(
    parameters: str, prior: str, attempt: Callable[[Backend, str], None], catalog: CatalogProtocol
) -> None:
    weights: Weights = load_from(catalog, prior)
    try_backend(attempt, catalog.load(parameters).backend, weights.device)


def try_backend(attempt: Callable[[Backend, str], None], backend: Backend | None, device: str) -> None:
    """Let a GPU, and the packages of a backend, do a small piece of work; whatever they say becomes a SetupError.

    On the CPU there is nothing to try but whether the backend works there.
    """
    chosen = choose_backend(backend, device)
    if not device.startswith("cuda"):
        return
    try:
        attempt(chosen, device)
    except SetupError:
        raise
    except Exception as error:  # what compiled code says when it does not fit the GPU is of any kind
        raise SetupError(
            f"The backend '{chosen}' does not work on the device '{device}' ({type(error).__name__}: {error}). "
            "PyTorch, and the packages that a backend takes, have to be built for this GPU: see docs/gpu.md."
        ) from error


def try_volumes(backend: Backend, device: str) -> None:
    """Hash encoding, networks, marching and compositing, forward and backward, on some rays."""
    grid = HashGridParameters(levels=2, log2_table_size=8, finest_resolution=32)
    field = OutlineField(OutlineFieldParameters(hash_grid=grid, occupancy_resolution=8), backend, device)
    rays_o, rays_d = (rays.reshape(-1, 3).contiguous() for rays in Cameras.at(0.0, 0.0).to(device).rays(8, 8))
    renderer, jitter = make_volume_renderer(backend), draw_jitter(rays_o)
    seen = render_rays(field, rays_o, rays_d, field.occupancy, renderer, step_size=0.1, jitter=jitter)
    (seen.colour.mean() + seen.opacity.mean()).backward()


def try_meshes(backend: Backend, device: str) -> None:
    """Marching tetrahedra and rasterising, forward and backward, on a small ball."""
    grid = box_grid(torch.full((3,), -1.0), torch.full((3,), 1.0), 6).to(device)
    shape = DMTet(grid, 0.6 - grid.vertices.norm(dim=-1), backend)
    mesh = shape.mesh()
    # kaolin's backward starts one block per whole 512 pixels, so that of fewer it starts none, which CUDA refuses
    seen = rasterize(mesh.vertices, mesh.faces, mesh.vertices, Cameras.at(0.0, 0.0).to(device), 32, backend)
    (seen.attributes.square().mean() + seen.opacity.mean()).backward()


#: By settings, and the prior whose device these work on.
PIECES_OF_WORK: tuple[tuple[str, str, Callable[[Backend, str], None]], ...] = (
    ("params:outline", "novel_view_prior", try_volumes),
    ("params:detail", "text_to_image_prior", try_meshes),
)
