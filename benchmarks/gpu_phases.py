"""The phases of benchmarks/gpu.py, by name.

    python benchmarks/gpu_phases.py agreement --out FOLDER --device cuda

Each number is one line of JSON in FOLDER/PHASE.jsonl as soon as it is known, so that a phase which is stopped keeps
what it has found. What a bare machine may lack is imported by the phase that needs it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
GIB = 2**30
CUDA_PACKAGES = ("nerfacc", "tinycudann", "kaolin")
PACKAGES = ("torch", "numba", "diffusers", "transformers", "xatlas", *CUDA_PACKAGES)
#: The tests of all that renders and of the priors on a device.
TESTS = (
    "tests/rendering",
    "tests/fields",
    *(f"tests/geometry/test_{name}.py" for name in ("marching_tetrahedra", "mesh", "regularisers", "dmtet")),
    "tests/priors/test_device.py",
)
#: GiB at the worst moment of a step of one picture (of the word: four), by benchmarks/gpu_memory.py (docs/gpu.md).
EXPECTED_GIB = {"optimize_outline": 2.7, "refine_detail": 3.8, "learn_tokens": 5.2}
#: Steps of a stage, of which the share that asks a prior.
STEPS, WITH_PRIOR = 5000, 0.75
WORD_STEPS = 3000


@dataclass(frozen=True)
class Run:
    """Where a phase works, how large, and where it writes."""

    name: str
    device: str
    tiny: bool
    out: Path

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def note(self, what: str, value: Any, unit: str = "", passes: bool | None = None) -> None:
        """Write down a number, if there is one; passes: whether it is as it should be."""
        if value is None:
            return
        shown = float(f"{value:.4g}") if isinstance(value, float) else value
        line = {"what": what, "value": shown, "unit": unit, "passes": passes}
        with (self.out / f"{self.name}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def milliseconds(self, work: Callable[[], object]) -> float:
        """Median of some runs, after one that warms up."""
        times = []
        for _ in range(2 if self.tiny else 12):
            self.synchronize()
            started = time.perf_counter()
            work()
            self.synchronize()
            times.append(time.perf_counter() - started)
        return 1000 * median(times[1:])

    def synchronisations(self, work: Callable[[], object]) -> int | None:
        """How often work waits for the GPU."""
        if not self.on_gpu:
            return None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                work()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)

    @contextmanager
    def peak(self, what: str, expected: float | None = None) -> Iterator[None]:
        """Note the most memory of a GPU that is taken meanwhile; within 15% of what is expected."""
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        yield
        if self.on_gpu:
            gib = torch.cuda.max_memory_allocated() / GIB
            self.note(f"{what}, peak", gib, "GiB", None if expected is None else gib < 1.15 * expected)


def cosine(one: Tensor, other: Tensor) -> float:
    one, other = one.detach().cpu().double().flatten(), other.detach().cpu().double().flatten()
    return float(one @ other / (one.norm() * other.norm()).clamp_min(1e-300))


def gpu_settings(section: str) -> dict[str, Any]:
    """A section of conf/gpu's parameters, of those that repeat nothing else."""
    import yaml

    text = (ROOT / "conf/gpu/parameters.yml").read_text()
    settings: dict[str, Any] = yaml.safe_load(text)[section]
    return settings


# Phases --------------------------------------------------------------------------------------------------------------


def machine(run: Run) -> None:
    run.note("Python", platform.python_version())
    for name in PACKAGES:
        run.note(name, _version(name))
    for name in CUDA_PACKAGES if run.on_gpu else ():
        run.note(f"{name} is imported", _has(name))
    run.note("device", torch.cuda.get_device_name() if run.on_gpu else platform.processor() or "CPU")
    if run.on_gpu:
        run.note("memory", torch.cuda.get_device_properties(0).total_memory / GIB, "GiB")
    a = torch.randn(256, 256, device=run.device)
    product = (a @ a).cpu()
    close = torch.allclose(product, a.cpu() @ a.cpu(), rtol=1e-2, atol=1e-1)
    run.note("matrices are multiplied", close, passes=close)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def agreement(run: Run) -> None:
    for resolution in (10,) if run.tiny else (64, 128):
        _surfaces_agree(run, resolution, 48 if run.tiny else 1024)
    _fields_agree(run)
    _rays_agree(run)


def _surfaces_agree(run: Run, grid_resolution: int, resolution: int) -> None:
    from mpod_pipeline.geometry.marching_tetrahedra import marching_tetrahedra
    from mpod_pipeline.geometry.mesh import Mesh
    from mpod_pipeline.geometry.regularisers import laplacian, normal_consistency
    from mpod_pipeline.geometry.tetrahedra import box_grid
    from mpod_pipeline.rendering.cameras import Cameras
    from mpod_pipeline.rendering.rasterize import rasterize

    grid = box_grid(torch.full((3,), -0.8), torch.full((3,), 0.8), grid_resolution)
    x, y, z = grid.vertices.unbind(dim=1)
    sdf = 0.6 + 0.08 * (9 * x).sin() * (7 * y).cos() * (8 * z).sin() - grid.vertices.norm(dim=1)
    kernels = marching_tetrahedra(grid.vertices, grid.tetrahedra, sdf)
    there, field = grid.to(run.device), sdf.to(run.device).requires_grad_()

    def march() -> Mesh:
        return marching_tetrahedra(there.vertices, there.tetrahedra, field, "torch")

    pytorch = march().detach()
    of = f"{len(kernels.faces)} triangles"
    same = len(pytorch.faces) == len(kernels.faces)
    run.note(f"{of}: marching tetrahedra finds as many", len(pytorch.faces), passes=same)
    run.note(f"{of}: marching tetrahedra", run.milliseconds(march), "ms")

    def regularise() -> None:
        mesh = march()
        (normal_consistency(mesh) + laplacian(mesh)).backward()

    run.note(f"{of}: marching, topology, regularisers and gradient", run.milliseconds(regularise), "ms")
    cameras = Cameras.at(30.0, 20.0)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(1, resolution, resolution, 4, generator=generator)

    def draw(device: str, backend: Any) -> list[Tensor]:
        vertices = kernels.vertices.to(device).requires_grad_()
        raster = rasterize(vertices, kernels.faces.to(device), vertices, cameras.to(device), resolution, backend)
        seen = torch.cat([raster.attributes, raster.opacity[..., None]], dim=-1)
        (gradient,) = torch.autograd.grad((seen * weights.to(device)).sum(), vertices)
        return [raster.face_index.cpu(), raster.opacity.detach().cpu(), gradient.cpu()]

    expected, actual = draw("cpu", "numba"), draw(run.device, "torch")
    share = float((expected[0] == actual[0]).float().mean())
    # a GPU may round a projected point otherwise, which can move a pixel at the edge of two faces
    at = f"{of} at {resolution}²"
    run.note(f"{at}: same face", share, passes=share > (0.9999 if run.on_gpu else 1 - 1e-12))
    off = float(((expected[1] - actual[1]).abs() > 1e-3).float().mean())
    run.note(f"{at}: opacity off by more than 0.001", off, passes=off < 1e-4)
    likeness = cosine(expected[2], actual[2])
    run.note(f"{at}: gradients' cosine", likeness, passes=likeness > 0.999)
    draws = {"torch": "torch", **({"kaolin": "cuda_packages"} if run.on_gpu and _has("kaolin") else {})}
    for name, backend in draws.items():
        work = partial(draw, run.device, backend)
        with run.peak(f"{at}: drawing by {name}"):
            run.note(f"{at}: drawing by {name}, and gradient", run.milliseconds(work), "ms")
    run.note(f"{at}: synchronisations", run.synchronisations(lambda: draw(run.device, "torch")))


def _has(*packages: str) -> bool:
    try:
        for package in packages:
            importlib.import_module(package)
    except Exception:  # of any kind, where compiled code does not fit
        return False
    return True


def _fields(run: Run) -> dict[str, Any]:
    """Stage 1's field by the CPU's kernels, by PyTorch on the device, and by the CUDA packages where they are."""
    from mpod_pipeline.fields.outline_field import OutlineField, OutlineFieldParameters

    settings = OutlineFieldParameters.model_validate(
        {"hash_grid": {"levels": 4, "log2_table_size": 10}, "occupancy_resolution": 8}
        if run.tiny
        else gpu_settings("outline")["field"]
    )
    kernels = OutlineField(settings)
    with torch.no_grad():
        kernels.encoding.table.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    made = {"numba": kernels, "torch": OutlineField(settings, "torch", run.device)}
    if run.on_gpu and _has("tinycudann", "nerfacc"):
        made["cuda_packages"] = OutlineField(settings, "cuda_packages", run.device)
    for other in list(made.values())[1:]:
        with torch.no_grad():
            for name, tensor in other._tensors().items():
                tensor.copy_(kernels._tensors()[name])
    return made


def _fields_agree(run: Run) -> None:
    made = _fields(run)
    count = 2_000 if run.tiny else 200_000
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) * 1.9 - 0.95
    weights = torch.randn(count, 4, generator=torch.Generator().manual_seed(2))

    def ask(field: Any) -> tuple[Tensor, Tensor]:
        at, by = points.to(field.device), weights.to(field.device)
        answer = torch.cat([part.view(count, -1) for part in field(at)], dim=1)
        parameter = next(field.encoding.parameters())
        (gradient,) = torch.autograd.grad((answer * by).sum(), parameter)
        return answer.detach().cpu(), gradient.cpu()

    values, gradient = ask(made["numba"])
    for name, field in list(made.items())[1:]:
        others, other_gradient = ask(field)
        error = float((others - values).abs().mean() / values.abs().mean())
        run.note(f"field by {name}: relative error of values", error, passes=error < 0.01)
        likeness = cosine(gradient, other_gradient)
        run.note(f"field by {name}: gradients' cosine", likeness, passes=likeness > 0.99)
        took = run.milliseconds(partial(ask, field))
        run.note(f"field by {name}: {count} points and gradient", took, "ms")


def _rays_agree(run: Run) -> None:
    from mpod_pipeline.rendering.cameras import Cameras
    from mpod_pipeline.rendering.volume import make_volume_renderer, render_rays

    resolution, step = (16, 0.1) if run.tiny else (128, 0.01)
    pictures: dict[str, Tensor] = {}
    for name, field in _fields(run).items():
        rays_o, rays_d = (
            rays.reshape(-1, 3).contiguous()
            for rays in Cameras.at(30.0, 20.0).to(field.device).rays(resolution, resolution)
        )
        renderer = make_volume_renderer(field.backend)

        def render(field=field, rays_o=rays_o, rays_d=rays_d, renderer=renderer) -> Any:
            seen = render_rays(field, rays_o, rays_d, field.occupancy, renderer, step_size=step)
            (seen.colour.mean() + seen.opacity.mean()).backward()
            return seen

        pictures[name] = render().colour.detach().cpu()
        if name == "numba":
            continue
        error = float((pictures[name] - pictures["numba"]).abs().max())
        run.note(f"rays by {name}: largest difference of colours", error, passes=error < 0.02)
        run.note(f"rays by {name}: {resolution}² and gradient", run.milliseconds(render), "ms")
        run.note(f"rays by {name}: synchronisations", run.synchronisations(render))


def product(run: Run) -> None:
    from mpod_pipeline.geometry.glb import from_glb, to_glb
    from mpod_pipeline.method.detail import DetailParameters, refine_detail
    from mpod_pipeline.method.export import ExportParameters, export_model
    from mpod_pipeline.method.masks import MaskParameters, export_masks
    from mpod_pipeline.method.outline import OutlineParameters, optimize_outline
    from mpod_pipeline.method.textual_inversion import TextualInversionParameters, learn_token

    outline, masks, detail, export = _product_settings(run)
    novel_view, text_to_image = _small_priors(run)
    cutouts, truth = _mug()
    started = time.perf_counter()

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        with run.peak(stage):
            made = work()
            run.synchronize()
        run.note(stage, time.perf_counter() - began, "s")
        return made

    word = TextualInversionParameters(steps=1 if run.tiny else 40)
    token = timed("learn_tokens", lambda: learn_token(cutouts, text_to_image, word, 0, _silent))
    stage_1 = OutlineParameters.model_validate(outline)
    field = timed("optimize_outline", lambda: optimize_outline(cutouts, novel_view, stage_1, 0, _silent).field)
    seen = timed("export_masks", lambda: export_masks(field, MaskParameters.model_validate(masks)))
    stage_2 = DetailParameters.model_validate(detail)
    surface = timed(
        "refine_detail", lambda: refine_detail(cutouts, token, field, seen, text_to_image, stage_2, 0, _silent)
    )
    exported = ExportParameters.model_validate(export)
    mesh = timed("export_models", lambda: export_model(surface, cutouts, exported))
    run.note("all stages", time.perf_counter() - started, "s")
    glb = to_glb(mesh, 0.13)
    (run.out / "product.glb").write_bytes(glb)
    opens = len(from_glb(glb).faces) > 100
    run.note("the GLB opens", opens, passes=opens)
    _score(run, "product", field, mesh, truth)


def _product_settings(run: Run) -> tuple[dict[str, Any], ...]:
    """conf/gpu's sizes and rates with the small priors' own way of being asked; or tiny ones."""
    if run.tiny:
        outline = {"steps": 3, "resolutions": (12,), "step_size": 0.1, "backend": "torch", "cavities": None}
        masks = {"azimuths": 2, "elevations_deg": (0.0,), "resolution": 24, "step_size": 0.1}
        detail = {"steps": 2, "grid_resolution": 14, "resolution": 32, "backend": "torch"}
        return outline, masks, detail, {"texture_size": 64, "triangles": 500}
    outline, detail = gpu_settings("outline"), gpu_settings("detail")
    for section in (outline, detail):
        for name in ("sds", "weights", "reference_probability"):
            section.pop(name, None)
    outline |= {"steps": 800}
    detail |= {"steps": 80}
    return outline, gpu_settings("masks"), detail, gpu_settings("export")


def _small_priors(run: Run) -> tuple[Any, Any]:
    from mpod_pipeline.priors import load_novel_view_prior, load_text_to_image_prior

    folder = ROOT / "data/06_models/priors"
    return (
        load_novel_view_prior(folder / "novel_view", device=run.device),
        load_text_to_image_prior(folder / "text_to_image", device=run.device),
    )


def _mug() -> tuple[Any, Any]:
    """A sample product's cutout, and its true model, from whose silhouette the cutout is: no network finds it."""
    from mpod_pipeline.geometry.foreign_glb import from_any_glb
    from mpod_pipeline.geometry.texture import draw
    from mpod_pipeline.method.cutouts import Cutouts
    from mpod_pipeline.rendering.cameras import Cameras

    truth = from_any_glb((ROOT / "data/01_raw/ground_truth/kite-mug.glb").read_bytes())
    picture, opacity, _ = draw(truth, Cameras.at(0.0, 10.0), 512)
    rgba = torch.cat([picture[0], opacity[0, ..., None]], dim=-1)
    return Cutouts.of((rgba.clamp(0, 1) * 255 + 0.5).byte().numpy(), 10.0), truth


def _silent(step: int, steps: int, losses: dict[str, float]) -> None:
    pass


def _score(run: Run, name: str, field: Any, mesh: Any, truth: Any) -> None:
    """Views all round beside the true ones, as a picture and as scores."""
    import numpy as np
    from PIL import Image

    from mpod_pipeline.geometry.texture import draw
    from mpod_pipeline.method.evaluation import draw_field
    from mpod_pipeline.metrics.ground_truth import psnr, silhouette_iou
    from mpod_pipeline.rendering.cameras import Cameras

    size = 32 if run.tiny else 256
    cameras = Cameras.at(torch.arange(4) * 90.0 + 30, 15.0)
    true, true_opacity, _ = draw(truth, cameras, size)
    rows = [true]
    views = {"stage 1": draw_field(field, cameras, size)}
    if mesh is not None:
        views["stage 2"] = draw(mesh, cameras, size)[:2]
    for stage, (pictures, opacity) in views.items():
        iou = float(silhouette_iou(opacity[:, None], true_opacity[:, None]).mean())
        likeness = float(psnr(pictures.permute(0, 3, 1, 2), true.permute(0, 3, 1, 2)).mean())
        sound = None if run.tiny else (iou > 0.85, likeness > 18)
        run.note(f"{name}, {stage}: silhouettes' IoU", iou, passes=sound and sound[0])
        run.note(f"{name}, {stage}: PSNR all round", likeness, "dB", passes=sound and sound[1])
        rows.append(pictures)
    sheet = torch.cat([torch.cat(list(row), dim=1) for row in rows]).clamp(0, 1)
    Image.fromarray((sheet.numpy() * 255).astype(np.uint8)).save(run.out / f"{name}.png")


def full_size(run: Run) -> None:
    novel_view, text_to_image = _full_size_priors(run)
    _autoencoder_keeps_gradients(run, text_to_image)
    _mask_reaches_every_layer(run, text_to_image)
    sizes = {"optimize_outline": novel_view, "refine_detail": text_to_image}
    for stage, prior in sizes.items():
        step = _distillation(run, prior)
        with run.peak(f"{stage}: a step of one picture", None if run.tiny else EXPECTED_GIB[stage]):
            run.note(f"{stage}: asking the prior, of one picture", run.milliseconds(step), "ms")
    from mpod_pipeline.method.textual_inversion import TextualInversionParameters, denoising_loss, looks_at

    token = text_to_image.word_embedding("a").float().requires_grad_()
    size = text_to_image.image_size * 5 // 4
    picture = torch.rand(3, size, size, device=run.device)
    generator = torch.Generator().manual_seed(0)
    looks = looks_at([picture], ["front view"], text_to_image, TextualInversionParameters(looks=4), generator)

    def word() -> None:
        loss = denoising_loss(text_to_image, looks, token)
        (gradient,) = torch.autograd.grad(loss, token)
        assert gradient.isfinite().all()

    with run.peak("learn_tokens: a step of four pictures", None if run.tiny else EXPECTED_GIB["learn_tokens"]):
        run.note("learn_tokens: a step of four pictures", run.milliseconds(word), "ms")


def _full_size_priors(run: Run) -> tuple[Any, Any]:
    """Networks of the originals' configs with random weights; the dry run's are of the same classes."""
    from diffusers import DDIMScheduler
    from gpu_memory import autoencoder, image_encoder, in_dtype, text_encoder, unet
    from transformers import CLIPTokenizer

    from mpod_pipeline.priors import architecture as small
    from mpod_pipeline.priors.camera_projection import CLIPCameraProjection
    from mpod_pipeline.priors.novel_view import NovelViewPrior
    from mpod_pipeline.priors.schedule import NoiseSchedule
    from mpod_pipeline.priors.text_to_image import TextToImagePrior

    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "data/06_models/priors/text_to_image/tokenizer")
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    schedule = NoiseSchedule.of(DDIMScheduler(**betas))
    tiny = small.ArchitectureParameters(
        image_size=32,
        autoencoder_channels=(8, 16, 16),
        unet_channels=(32, 32, 64),
        attention_heads=2,
        context_dim=32,
        text_layers=1,
        image_layers=1,
        patch_size=8,
    )
    makes: dict[str, Callable[[], Any]] = {
        "vae": autoencoder,
        "unet": lambda: unet(4, 768),
        "text": lambda: text_encoder(768, 12, 12),
        "novel_unet": lambda: unet(8, 768),
        "image": image_encoder,
        "projection": lambda: CLIPCameraProjection(768, 4, 1),
    }
    if run.tiny:
        ends = tokenizer.bos_token_id, tokenizer.eos_token_id
        makes = {
            "vae": lambda: small.make_autoencoder(tiny),
            "unet": lambda: small.make_unet(tiny, 4),
            "text": lambda: small.make_text_encoder(tiny, len(tokenizer), *ends),
            "novel_unet": lambda: small.make_unet(tiny, 8),
            "image": lambda: small.make_image_encoder(tiny),
            "projection": lambda: small.make_camera_projection(tiny),
        }
    torch.manual_seed(0)
    half = torch.float16 if run.on_gpu else torch.float32
    with torch.device(run.device):
        made = {name: in_dtype(make, torch.float32 if name == "text" else half) for name, make in makes.items()}
    if not run.tiny:
        made["unet"].register_to_config(sample_size=64)
        made["novel_unet"].register_to_config(sample_size=32)
    novel_view = NovelViewPrior(
        made["vae"],
        made["image"],
        made["novel_unet"],
        made["projection"],
        schedule,
        (0.48, 0.46, 0.41),
        (0.27, 0.26, 0.28),
    )
    return novel_view, TextToImagePrior(made["vae"], tokenizer, made["text"], made["unet"], schedule)


def _autoencoder_keeps_gradients(run: Run, prior: Any) -> None:
    import copy

    pictures = torch.rand(1, 3, prior.image_size, prior.image_size, device=run.device, requires_grad=True)

    def gradient(network: Any) -> Tensor:
        from mpod_pipeline.priors.latents import encode_pictures

        latents = encode_pictures(network, pictures)
        return torch.autograd.grad((latents * weights).mean(), pictures)[0]

    weights = torch.randn_like(prior.encode(pictures.detach()))
    likeness = cosine(gradient(prior.vae), gradient(copy.deepcopy(prior.vae).float()))
    run.note("autoencoder: its gradient's cosine with that in float32", likeness, passes=likeness > 0.99)


def _mask_reaches_every_layer(run: Run, prior: Any) -> None:
    from mpod_pipeline.priors import mrca

    asked = []
    attend = mrca.RectifiedAttention.attend

    def counted(self: Any, *tensors: Any, **named: Any) -> Tensor:
        asked.append(1)
        return attend(self, *tensors, **named)

    mrca.RectifiedAttention.attend = counted  # type: ignore[method-assign]
    try:
        prediction = _distillation(run, prior, only_predict=True)()
    finally:
        mrca.RectifiedAttention.attend = attend  # type: ignore[method-assign]
    layers = sum(name.endswith(".attn2") for name, _ in prior.unet.named_modules())
    run.note("MRCA: layers that it reached", len(asked), passes=len(asked) == layers > 0)
    finite = bool(prediction.isfinite().all())
    run.note("MRCA: the prediction is finite", finite, passes=finite)


def _distillation(run: Run, prior: Any, only_predict: bool = False) -> Callable[[], Any]:
    """A step of score distillation as its stage does it: encode, predict with guidance, go back to the pictures."""
    from mpod_pipeline.priors.sds import sds_loss

    size = prior.image_size
    pictures = torch.rand(1, 3, size, size, device=run.device, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    timesteps = torch.full((1,), 400, device=run.device)
    if hasattr(prior, "tokenizer"):
        from mpod_pipeline.priors.mrca import TokenMask

        with torch.no_grad():
            token = prior.word_embedding("a").float()
            prompt, nothing = prior.encode_prompt("a photo of <e>", token), prior.encode_prompt("")
        inside = torch.zeros(1, 1, size, size, device=run.device)
        inside[..., size // 4 : -size // 4, size // 4 : -size // 4] = 1
        mask = TokenMask(inside, prompt.token_columns)

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            with torch.no_grad():
                return prior.predict(noisy, t, [prompt], nothing, 100.0, mask)
    else:
        condition = prior.encode_photo(pictures.detach()[0], 10.0)
        pose = prior.pose(condition, torch.tensor([90.0]), torch.tensor([10.0]))

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            return prior.predict(noisy, t, condition, pose, 5.0)

    if only_predict:
        noisy = torch.randn_like(prior.encode(pictures.detach()))
        return lambda: predict(noisy, timesteps)

    def step() -> None:
        latents = prior.encode(pictures)
        loss = sds_loss(latents, predict, prior.schedule, timesteps, generator)
        (gradient,) = torch.autograd.grad(loss, pictures)
        assert gradient.isfinite().all()

    return step


def steps(run: Run) -> None:
    """A few steps of every stage at conf/gpu's settings with full-size networks, and what a product would take."""
    from mpod_pipeline.method.detail import DetailParameters, refine_detail
    from mpod_pipeline.method.masks import MaskParameters, export_masks
    from mpod_pipeline.method.outline import OutlineParameters, optimize_outline
    from mpod_pipeline.method.textual_inversion import TextualInversionParameters, learn_token

    novel_view, text_to_image = _full_size_priors(run)
    cutouts, _ = _mug()
    outline, masks, detail, _ = _product_settings(run)
    if not run.tiny:
        outline, detail = gpu_settings("outline"), gpu_settings("detail")
    few = 4 if run.tiny else 16
    stopwatch = _Stopwatch(run)
    word = TextualInversionParameters(steps=few)
    token = stopwatch.time("learn_tokens", lambda r: learn_token(cutouts, text_to_image, word, 0, r))
    stage_1 = OutlineParameters.model_validate({**outline, "steps": few})
    field = stopwatch.time("optimize_outline", lambda r: optimize_outline(cutouts, novel_view, stage_1, 0, r).field)
    began = time.perf_counter()
    seen = export_masks(field, MaskParameters.model_validate(masks))
    run.note("export_masks", time.perf_counter() - began, "s")
    stage_2 = DetailParameters.model_validate({**detail, "steps": few})
    stopwatch.time("refine_detail", lambda r: refine_detail(cutouts, token, field, seen, text_to_image, stage_2, 0, r))
    stopwatch.project()


class _Stopwatch:
    """Times steps by whether they ask a prior, after those that warm up."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.minutes: dict[str, float] = {}

    def time(self, stage: str, work: Callable[[Callable[..., None]], Any]) -> Any:
        steps: list[tuple[float, bool]] = []

        def report(step: int, count: int, losses: dict[str, float]) -> None:
            self.run.synchronize()
            steps.append((time.perf_counter(), "sds" in losses or "loss" in losses))

        made: list[Any] = []
        with self.run.peak(stage):
            waits = self.run.synchronisations(lambda: made.append(work(report)))
            if waits is None:
                made.append(work(report))
        self._note(stage, steps, waits)
        return made[0]

    def _note(self, stage: str, steps: list[tuple[float, bool]], waits: int | None) -> None:
        took = [(after - before, asked) for (before, _), (after, asked) in pairwise(steps)]
        of = {asked: [seconds for seconds, a in took[1:] if a == asked] for asked in (True, False)}
        means = {asked: median(seconds) for asked, seconds in of.items() if seconds}
        for asked, seconds in means.items():
            kind = "with" if asked else "without"
            self.run.note(f"{stage}: a step {kind} the prior", 1000 * seconds, "ms")
        if waits is not None:
            self.run.note(f"{stage}: synchronisations a step, start included", waits / len(steps))
        known = next(iter(means.values()))
        share = 1.0 if stage == "learn_tokens" else WITH_PRIOR
        mean = share * means.get(True, known) + (1 - share) * means.get(False, known)
        self.minutes[stage] = mean * (WORD_STEPS if stage == "learn_tokens" else STEPS) / 60

    def project(self) -> None:
        for stage, minutes in self.minutes.items():
            self.run.note(f"{stage}: minutes at the paper's steps, projected", minutes, "min")
        self.run.note("a product, projected", sum(self.minutes.values()), "min")


def tests(run: Run) -> None:
    chosen = ["tests/rendering/test_rasterize.py", "-k", "pixel_centres"] if run.tiny else [*TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *chosen]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout[-6000:], done.stderr[-2000:])
    counts = dict.fromkeys(("passed", "failed", "skipped", "error"), 0)
    for number, what in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout.splitlines()[-1]):
        counts[what] = int(number)
    for what, number in counts.items():
        run.note(what, number)
    run.note("all pass", done.returncode == 0, passes=done.returncode == 0 and counts["passed"] > 0)


def compile(run: Run) -> None:
    """U-Net and autoencoder's encoder, as they are and compiled (in the dry run: captured, not compiled)."""
    _, prior = _full_size_priors(run)
    how: dict[str, Any] = {"backend": "eager"} if run.tiny else {"mode": "reduce-overhead"}
    size = prior.image_size
    latents = torch.randn(2, 4, prior.unet.config.sample_size, prior.unet.config.sample_size).to(run.device)
    with torch.no_grad():
        context = prior.encode_prompt("a mug").context.expand(2, -1, -1)
    dtype = prior.unet.dtype
    timesteps = torch.full((2,), 400, device=run.device)
    pictures = torch.rand(1, 3, size, size, device=run.device, dtype=dtype, requires_grad=True)

    def predict(unet: Any) -> Tensor:
        with torch.no_grad():
            sample: Tensor = unet(latents.to(dtype), timesteps, encoder_hidden_states=context.to(dtype)).sample
        return sample

    def encode(encoder: Any) -> Tensor:
        return torch.autograd.grad(encoder(pictures).float().square().mean(), pictures)[0]

    for what, network, work in (("U-Net", prior.unet, predict), ("encoder and gradient", prior.vae.encoder, encode)):
        run.note(f"{what} as it is", run.milliseconds(partial(work, network)), "ms")
        began = time.perf_counter()
        compiled = torch.compile(network, **how)
        likeness = cosine(work(network), work(compiled))
        run.note(f"{what}: seconds to compile", time.perf_counter() - began, "s")
        run.note(f"{what}: cosine with it compiled", likeness, passes=likeness > 0.99)
        run.note(f"{what} compiled", run.milliseconds(partial(work, compiled)), "ms")


def settings(run: Run) -> None:
    """Stage 1 with the small priors, by Adam's epsilon and the finest grid."""
    from mpod_pipeline.method.outline import OutlineParameters, optimize_outline

    novel_view, _ = _small_priors(run)
    cutouts, truth = _mug()
    outline, *_ = _product_settings(run)
    outline |= {"steps": 2 if run.tiny else 200}
    for resolution in (64,) if run.tiny else (2048, 512):
        for epsilon in (1e-8,) if run.tiny else (1e-15, 1e-8):
            grid = {**outline.get("field", {}).get("hash_grid", {}), "finest_resolution": resolution}
            field = {**outline.get("field", {}), "hash_grid": grid}
            p = OutlineParameters.model_validate({**outline, "field": field, "adam_epsilon": epsilon})
            made = optimize_outline(cutouts, novel_view, p, 0, _silent).field
            _score(run, f"finest_{resolution}_epsilon_{epsilon:g}", made, None, truth)


def main() -> None:
    phases = {f.__name__: f for f in (machine, agreement, product, full_size, steps, tests, compile, settings)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("phase", choices=phases)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    phases[arguments.phase](Run(arguments.phase, arguments.device, arguments.tiny, arguments.out))


if __name__ == "__main__":
    main()
