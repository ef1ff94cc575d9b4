"""The outline field: its start, its gradients, its file."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.fields.hash_encoding import HashGridParameters
from mpod_pipeline.fields.outline_field import FORMAT_VERSION, OutlineField, OutlineFieldParameters
from mpod_pipeline.rendering.backend import choose_backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume import draw_jitter, make_volume_renderer, render_image, render_rays

SMALL = OutlineFieldParameters(
    bound=1.25,
    hash_grid=HashGridParameters(levels=4, log2_table_size=10, base_resolution=4, finest_resolution=32),
    mlp_width=16,
    occupancy_resolution=8,
)


def rough_field(seed: int = 0) -> OutlineField:
    """A field that is no longer at its start, with its occupancy grid up to date."""
    field = OutlineField(SMALL, seed=seed)
    with torch.no_grad():
        field.encoding.table.normal_(generator=torch.Generator().manual_seed(seed))
    field.occupancy.update(0, field.density, generator=torch.Generator().manual_seed(seed))
    return field


def points_in_the_box(n: int = 200) -> torch.Tensor:
    return (torch.rand(n, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1) * SMALL.bound


def test_starts_as_a_soft_ball() -> None:
    field = OutlineField(OutlineFieldParameters(blob_scale=10, blob_radius=0.5))
    radius = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    points = radius[:, None] * F.normalize(torch.tensor([[1.0, -2.0, 0.5]]), dim=-1)
    expected = F.softplus(10 * (1 - radius / 0.5))
    # The network adds its bias, of at most 2 / sqrt(32) before softplus.
    torch.testing.assert_close(field.density(points), expected, rtol=0, atol=0.4)
    assert field.density(points).diff().max() < 0


def test_parts_are_the_whole() -> None:
    field, points = rough_field(), points_in_the_box()
    density, colour = field(points)
    torch.testing.assert_close(density, field.density(points))
    torch.testing.assert_close(colour, field.colour(points))
    assert density.shape == (200,) and colour.shape == (200, 3)
    assert density.dtype == colour.dtype == torch.float32
    assert density.min() >= 0 and colour.min() >= 0 and colour.max() <= 1


def test_normals_of_the_ball_point_outwards() -> None:
    field = OutlineField(OutlineFieldParameters(blob_scale=10, blob_radius=0.5))
    with torch.no_grad():
        field.encoding.table.zero_()  # nothing but the ball
    points = F.normalize(points_in_the_box(), dim=-1) * 0.4
    normals = field.normals(points)
    # Differences over 0.01 at a radius of 0.4 see the ball's curvature: angles of about 0.01 / 0.4 squared.
    assert (normals * F.normalize(points, dim=-1)).sum(dim=-1).min() > 0.999


def test_a_loss_on_normals_reaches_the_field() -> None:
    field = rough_field()
    field.normals(points_in_the_box())[:, 2].mean().backward()
    gradient = field.encoding.table.grad
    assert gradient is not None
    assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_gradient_to_points_is_that_of_differences() -> None:
    field = rough_field()
    points = points_in_the_box(2000).requires_grad_()
    (gradient,) = torch.autograd.grad(field.density(points).sum(), points)
    step = torch.tensor([1e-3, 0.0, 0.0])
    with torch.no_grad():
        differences = (field.density(points + step) - field.density(points - step)) / 2e-3
    # Differences across a cell's face or the network's kinks are something else: a few in a hundred.
    close = (gradient[:, 0] - differences).abs() < 0.02 * (1 + differences.abs())
    assert close.float().mean() > 0.9


def test_what_is_learnt_of_colours_leaves_the_density_alone() -> None:
    field, points = rough_field(), points_in_the_box()
    before = field.density(points).detach()
    optimiser = torch.optim.Adam(field.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (field.colour(points) - 0.9).square().mean().backward()
        optimiser.step()
    assert torch.equal(field.density(points), before)
    assert (field.colour(points) - 0.9).abs().mean() < 0.3


def test_one_seed_is_one_field() -> None:
    fields = [OutlineField(SMALL, seed=seed).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(fields[0][name], fields[1][name]) for name in fields[0])
    matrix = "network.density.hidden"
    assert not torch.equal(fields[0][matrix], fields[2][matrix])
    assert not torch.equal(fields[0]["encoding.table"], fields[2]["encoding.table"])


def test_fits_a_coloured_ball_and_the_same_again() -> None:
    renderer = make_volume_renderer()
    rays_o, rays_d = (rays.reshape(-1, 3) for rays in Cameras.at([0.0, 90.0, 200.0], 10.0).rays(16, 16))
    nearest = rays_o - (rays_o * rays_d).sum(dim=-1, keepdim=True) * rays_d
    target = (nearest.norm(dim=-1) < 0.6)[:, None] * torch.tensor([0.9, 0.3, 0.1])  # on black

    def train() -> list[float]:
        field = OutlineField(SMALL, seed=3)
        optimiser = torch.optim.Adam(field.parameters(), lr=1e-2)
        generator = torch.Generator().manual_seed(0)
        losses = []
        for step in range(60):
            field.occupancy.update(step, field.density, generator=generator)
            jitter = draw_jitter(rays_o, generator)
            render = render_rays(field, rays_o, rays_d, field.occupancy, renderer, step_size=0.1, jitter=jitter)
            loss = F.mse_loss(render.colour, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses

    losses = train()
    assert losses[-1] < 0.1 * losses[0]
    assert losses == train()


def test_a_saved_field_renders_as_before(tmp_path: Path) -> None:
    field = rough_field()
    field.stored().save(tmp_path / "ball.safetensors")
    loaded = OutlineField.load(tmp_path / "ball.safetensors")
    assert loaded.settings == field.settings and loaded.backend == "numba"
    images = [
        render_image(f, Cameras.at(30.0, 20.0), 16, f.occupancy, make_volume_renderer(), step_size=0.05)
        for f in (field, loaded)
    ]
    assert images[0].opacity.max() > 0.5
    for name in ("colour", "opacity", "depth"):
        assert torch.equal(getattr(images[0], name), getattr(images[1], name))


def test_what_is_stored_travels_without_what_renders(tmp_path: Path) -> None:
    """As a worker with a GPU sends it to a driver without one: plain tensors and a text."""
    stored = rough_field().stored()
    sent = pickle.loads(pickle.dumps(stored))
    assert all(type(tensor) is torch.Tensor and tensor.is_cpu for tensor in sent.tensors.values())
    stored.save(tmp_path / "here")
    sent.save(tmp_path / "there")
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    rough_field().stored().save(tmp_path / "ball.safetensors")
    with safe_open(tmp_path / "ball.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["outline_field"])
    assert header["format_version"] == FORMAT_VERSION
    assert (header["backend"], header["device"]) == ("numba", "cpu")
    assert OutlineFieldParameters.model_validate(header["settings"]) == SMALL


def test_equal_fields_are_equal_files(tmp_path: Path) -> None:
    contents = set()
    for _ in range(5):
        rough_field().stored().save(tmp_path / "ball.safetensors")
        contents.add((tmp_path / "ball.safetensors").read_bytes())
    assert len(contents) == 1


def test_a_field_by_pytorch_is_the_same_and_comes_back_by_pytorch(tmp_path: Path) -> None:
    """Density, colour, a picture, and the table's gradient of it."""
    field = rough_field()
    pytorch = OutlineField(SMALL, "torch")
    with torch.no_grad():
        for name, tensor in pytorch._tensors().items():
            tensor.copy_(field._tensors()[name])
    pytorch.stored().save(tmp_path / "ball.safetensors")
    pytorch = OutlineField.load(tmp_path / "ball.safetensors")
    assert pytorch.backend == "torch" and pytorch.device.type == "cpu"
    pictures, gradients = [], []
    for one in (field, pytorch):
        rays_o, rays_d = (rays.reshape(-1, 3) for rays in Cameras.at(30.0, 20.0).rays(16, 16))
        renderer = make_volume_renderer(one.backend)
        render = render_rays(one, rays_o, rays_d, one.occupancy, renderer, step_size=0.05)
        render.colour.square().sum().backward()
        pictures.append(render)
        gradients.append(one.encoding.table.grad)
    assert pictures[0].opacity.max() > 0.5
    # float32's rounding, over 50 samples a ray
    for name in ("colour", "opacity", "depth"):
        torch.testing.assert_close(getattr(pictures[1], name), getattr(pictures[0], name), rtol=1e-5, atol=1e-5)
    assert gradients[0] is not None and gradients[1] is not None
    assert (gradients[1] - gradients[0]).abs().max() < 1e-4 * gradients[0].abs().max()


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_view_that_meets_no_cell_still_has_a_gradient(backend: Any) -> None:
    """Of nought, by the networks' weights: a step that sees nothing else must not fail."""
    field = OutlineField(SMALL, backend)
    field.occupancy.occupied.zero_()
    rays_o, rays_d = (rays.reshape(-1, 3) for rays in Cameras.at(0.0, 0.0).rays(4, 4))
    renderer = make_volume_renderer(field.backend)
    render = render_rays(field, rays_o, rays_d, field.occupancy, renderer, step_size=0.1)
    (render.colour.sum() + render.opacity.sum()).backward()
    assert len(render.weights) == 0
    gradients = [parameter.grad for parameter in field.network.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


@pytest.mark.parametrize(
    ("backend", "device", "said"),
    [
        ("abacus", "cpu", "'abacus'"),
        ("cuda_packages", "cpu", "needs a CUDA device.*choose the backend 'torch'"),
        (None, "cuda", "sees no CUDA device.*device=cpu"),
        (None, "gpu", "is cpu or cuda, not 'gpu'"),
        ("numba", "meta", "needs the CPU"),
    ],
)
def test_a_backend_that_does_not_work_on_the_device_is_an_error(
    backend: Any, device: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match=said):
        OutlineField(SMALL, backend, device)


def test_each_device_has_a_backend_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_backend(None, "cpu") == "numba"
    assert choose_backend(None, "cuda:1") == choose_backend("torch", "cpu") == "torch"
    assert choose_backend("cuda_packages", "cuda") == "cuda_packages"


def test_a_field_goes_to_another_device_by_that_devices_backend() -> None:
    field = rough_field()
    assert field.on("cpu") is field
    moved = field.on("meta")  # a device that holds no numbers
    assert (moved.backend, moved.device.type, moved.settings) == ("torch", "meta", field.settings)


def remove(path: Path) -> None:
    path.unlink()


def damage_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def damage_text(path: Path) -> None:
    path.write_text("not a field")


def damage_metadata(path: Path) -> None:
    save_file(load_file(path), path)


def damage_shape(path: Path) -> None:
    _save_again(path, SMALL.model_copy(update={"mlp_width": 8}).model_dump())


def damage_settings(path: Path) -> None:
    _save_again(path, {"bound": -1})


def damage_backend(path: Path) -> None:
    _save_again(path, SMALL.model_dump(), backend="abacus")


def damage_version(path: Path) -> None:
    _save_again(path, SMALL.model_dump(), version=1)


def _save_again(path: Path, settings: dict[str, Any], backend: str = "numba", version: int = FORMAT_VERSION) -> None:
    header = {"format_version": version, "backend": backend, "device": "cpu", "settings": settings}
    save_file(load_file(path), path, {"outline_field": json.dumps(header)})


DAMAGES = {
    remove: "No such file",
    damage_bytes: "header|Header|deserializ",
    damage_text: "header|Header|deserializ",
    damage_metadata: "outline_field",
    damage_shape: "has the shape",
    damage_settings: "bound",
    damage_backend: "unknown backend 'abacus'",
    damage_version: "format version 1",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_this_products_trouble(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "ball.safetensors"
    rough_field().stored().save(path)
    damage(path)
    with pytest.raises(ProductError, match=r"ball\.safetensors cannot be read") as raised:
        OutlineField.load(path)
    assert re.search(DAMAGES[damage], str(raised.value)), raised.value


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        OutlineFieldParameters(mlp_with=32)
