"""Volume rendering: closed forms, and each backend against the PyTorch definition."""

import math

import pytest
import torch
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume import (
    Field,
    OccupancyGrid,
    RaySamples,
    VolumeRenderer,
    draw_jitter,
    make_volume_renderer,
    on_background,
    render_image,
    render_rays,
)
from mpod_pipeline.rendering.volume.numba_ import NumbaRenderer
from mpod_pipeline.rendering.volume.torch_ import TorchRenderer

each_backend = pytest.mark.parametrize("renderer", [NumbaRenderer(), TorchRenderer()], ids=["numba", "torch"])


def all_occupied(resolution: int = 4, bound: float = 1.0) -> OccupancyGrid:
    return OccupancyGrid(resolution, bound, threshold=0.5)


def half_occupied() -> OccupancyGrid:
    torch.manual_seed(5)
    grid = all_occupied(8)
    grid.occupied.copy_(torch.rand(8, 8, 8) > 0.5)
    return grid


def camera_rays(size: int = 12) -> tuple[Tensor, Tensor]:
    rays_o, rays_d = Cameras.at([20.0, 200.0], [30.0, -40.0]).rays(size, size)
    return rays_o.reshape(-1, 3), rays_d.reshape(-1, 3)


def ball(density: float, radius: float) -> Field:
    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        inside = points.norm(dim=-1) < radius
        return density * inside, torch.ones(len(points), 3) * torch.tensor([0.2, 0.5, 0.8])

    return field


@each_backend
def test_opacity_of_a_ball_is_that_of_its_chord(renderer: VolumeRenderer) -> None:
    height = torch.tensor([0.0, 0.2, 0.4, 0.55, 0.7])
    rays_o = torch.stack([torch.full_like(height, 2.5), torch.zeros_like(height), height], dim=-1)
    rays_d = torch.tensor([[-1.0, 0.0, 0.0]]).expand_as(rays_o)
    step = 0.002
    render = render_rays(ball(3.0, 0.6), rays_o, rays_d, all_occupied(), renderer, step_size=step)
    chord = 2 * (0.36 - height**2).clamp_min(0).sqrt()
    expected = 1 - torch.exp(-3.0 * chord)
    # The number of midpoints in the chord may miss its length by one step: an optical depth of 0.006.
    torch.testing.assert_close(render.opacity, expected, rtol=0, atol=3.0 * step)
    torch.testing.assert_close(
        render.colour, expected[:, None] * torch.tensor([0.2, 0.5, 0.8]), rtol=0, atol=3.0 * step
    )


@each_backend
def test_two_slabs_by_hand(renderer: VolumeRenderer) -> None:
    # One ray, two intervals: sigma 2 over 0.5 at t = 1.25, sigma 4 over 0.25 at t = 3.125; one ray that meets
    # nothing.
    samples = RaySamples(
        torch.tensor([0, 0]), torch.tensor([1.0, 3.0]), torch.tensor([1.5, 3.25]), torch.tensor([0, 2, 2])
    )
    colour = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    render = renderer.composite(torch.tensor([2.0, 4.0]), colour, samples)
    first = 1 - math.exp(-1)
    second = math.exp(-1) * (1 - math.exp(-1))
    torch.testing.assert_close(render.weights, torch.tensor([first, second]))
    torch.testing.assert_close(render.colour, torch.tensor([[first, second], [0.0, 0.0]]))
    torch.testing.assert_close(render.opacity, torch.tensor([1 - math.exp(-2), 0.0]))
    depth = (first * 1.25 + second * 3.125) / (first + second)
    torch.testing.assert_close(render.depth, torch.tensor([depth, 0.0]))


@each_backend
def test_empty_grid_gives_nothing(renderer: VolumeRenderer) -> None:
    grid = all_occupied()
    grid.occupied.zero_()
    rays_o, rays_d = camera_rays()
    render = render_rays(ball(9.0, 0.5), rays_o, rays_d, grid, renderer, step_size=0.05)
    assert len(render.weights) == 0
    assert render.opacity.abs().max() == 0
    assert render.colour.abs().max() == 0
    blended = on_background(render.colour, render.opacity, torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(blended, torch.tensor([0.1, 0.2, 0.3]).expand_as(blended))


@each_backend
def test_march_by_hand(renderer: VolumeRenderer) -> None:
    rays_o = torch.tensor([[3.0, 0.1, 0.1], [0.0, 0.0, 0.0], [3.0, 5.0, 0.0]])
    rays_d = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    grid = all_occupied(4)
    grid.occupied[2, 2, 2] = False  # x, y and z in [0, 0.5]
    samples = renderer.march(rays_o, rays_d, grid, 0.25, torch.tensor([0.5, 0.9, 0.0]))
    middle = (samples.t_start + samples.t_end) / 2
    # In at 2, out at 4; cells of t in [2.5, 3] are empty. From the inside: in at 0, out at 1, empty for t <
    # 0.5.
    expected = [2.125, 2.375, 3.125, 3.375, 3.625, 3.875, 0.725, 0.975]
    torch.testing.assert_close(middle, torch.tensor(expected))
    torch.testing.assert_close(samples.t_end - samples.t_start, torch.full((8,), 0.25))
    assert samples.ray_index.tolist() == [0] * 6 + [1] * 2
    assert samples.ray_offsets.tolist() == [0, 6, 8, 8]


@pytest.mark.parametrize("jittered", [False, True])
def test_numba_marches_as_pytorch_in_float64(jittered: bool) -> None:
    rays_o, rays_d = camera_rays(32)
    jitter = draw_jitter(rays_o, torch.Generator().manual_seed(0)) if jittered else None
    ours = NumbaRenderer().march(rays_o, rays_d, half_occupied(), 0.03, jitter)
    exact = TorchRenderer().march(
        rays_o.double(), rays_d.double(), half_occupied(), 0.03, None if jitter is None else jitter.double()
    )
    # A midpoint within 1e-6 of a cell's face may fall on either side; none of these rays' 40,000 does by
    # more.
    key, exact_key = (
        torch.stack([s.ray_index.double(), (s.t_start * 1e4).round().double()], dim=-1) for s in (ours, exact)
    )
    differing = abs(len(ours) - len(exact))
    assert differing <= 5
    if not differing:
        torch.testing.assert_close(key, exact_key, rtol=0, atol=1.0)
    assert len(ours) > 10000


def test_jitter_is_unbiased() -> None:
    # A thin slab between two of the coarse steps: without jitter it is missed or counted whole.
    def slab(points: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 * ((points[:, 0] > 0.13) & (points[:, 0] < 0.2)), torch.ones(len(points), 1)

    n_rays = 20000
    rays_o = torch.tensor([[2.0, 0.0, 0.0]]).expand(n_rays, 3)
    rays_d = torch.tensor([[-1.0, 0.0, 0.0]]).expand(n_rays, 3)
    generator = torch.Generator().manual_seed(0)
    samples = NumbaRenderer().march(rays_o, rays_d, all_occupied(), 0.25, draw_jitter(rays_o, generator))
    density, _ = slab(samples.points(rays_o, rays_d))
    optical_depth = (density * 0.25).sum() / n_rays
    # Standard error of a hit (probability 0.28, weight 0.125) over 20,000 rays: 0.0004; four of them.
    assert optical_depth.item() == pytest.approx(0.5 * 0.07, abs=0.0016)


def loss_of_all_outputs(
    renderer: VolumeRenderer, density: Tensor, colour: Tensor, samples: RaySamples
) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(7)
    render = renderer.composite(density, colour, samples)
    outputs = [render.colour, render.opacity, render.depth, render.weights]
    terms = [(torch.randn(output.shape).to(output) * output.sin()).sum() for output in outputs]
    return torch.stack(terms).sum(), outputs


@pytest.mark.parametrize("n_channels", [3, 6])
@pytest.mark.parametrize("opaque", [1.0, 300.0])
def test_numba_composites_as_pytorch_in_float64(n_channels: int, opaque: float) -> None:
    rays_o, rays_d = camera_rays(16)
    samples = NumbaRenderer().march(rays_o, rays_d, half_occupied(), 0.05)
    exact = RaySamples(samples.ray_index, samples.t_start.double(), samples.t_end.double(), samples.ray_offsets)
    torch.manual_seed(3)
    density = (torch.rand(len(samples)) ** 4 * opaque).requires_grad_()
    colour = torch.rand(len(samples), n_channels).requires_grad_()
    inputs = [density, colour]
    exact_inputs = [tensor.detach().double().requires_grad_() for tensor in inputs]
    loss, outputs = loss_of_all_outputs(NumbaRenderer(), density, colour, samples)
    exact_loss, exact_outputs = loss_of_all_outputs(TorchRenderer(), *exact_inputs, exact)
    # float32 accumulates up to 70 samples a ray: some 1e-6 of a value.
    for output, expected in zip(outputs, exact_outputs, strict=True):
        torch.testing.assert_close(output, expected.float(), rtol=2e-5, atol=2e-6)
    gradients = torch.autograd.grad(loss, inputs)
    for gradient, expected in zip(gradients, torch.autograd.grad(exact_loss, exact_inputs), strict=True):
        torch.testing.assert_close(gradient, expected.float(), rtol=1e-3, atol=1e-5)


def test_pytorchs_gradient_is_that_of_differences() -> None:
    rays_o, rays_d = camera_rays(2)
    samples = TorchRenderer().march(rays_o.double(), rays_d.double(), half_occupied(), 0.2)
    torch.manual_seed(3)
    density = (torch.rand(len(samples)).double() * 4).requires_grad_()
    colour = torch.rand(len(samples), 2).double().requires_grad_()

    def outputs(density: Tensor, colour: Tensor) -> tuple[Tensor, ...]:
        render = TorchRenderer().composite(density, colour, samples)
        return render.colour, render.opacity, render.depth, render.weights

    assert torch.autograd.gradcheck(outputs, (density, colour))


@each_backend
def test_skipping_empty_cells_changes_nothing(renderer: VolumeRenderer) -> None:
    field = ball(8.0, 0.5)
    grid = all_occupied(8)  # cells of 0.25
    axis = (torch.arange(8) + 0.5) / 4 - 1
    centre = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    grid.occupied.copy_(centre.norm(dim=-1) < 0.5 + 0.125 * math.sqrt(3))  # all cells that the ball may touch
    rays_o, rays_d = camera_rays(24)
    skipping = render_rays(field, rays_o, rays_d, grid, renderer, step_size=0.02)
    marching_all = render_rays(field, rays_o, rays_d, all_occupied(8), renderer, step_size=0.02)
    assert len(skipping.weights) < 0.5 * len(marching_all.weights)
    torch.testing.assert_close(skipping.opacity, marching_all.opacity, rtol=0, atol=1e-6)
    torch.testing.assert_close(skipping.colour, marching_all.colour, rtol=0, atol=1e-6)
    torch.testing.assert_close(skipping.depth, marching_all.depth, rtol=0, atol=1e-5)


def test_image_is_upright_and_its_depth_lies_along_the_view() -> None:
    def wall(points: Tensor) -> tuple[Tensor, Tensor]:
        """Dense behind x = 0.25; red above, green to the product's left (+y)."""
        x, y, z = points.unbind(-1)
        return 500.0 * (x < 0.25), torch.stack([(z > 0).float(), (y > 0).float(), torch.zeros_like(x)], dim=-1)

    image = render_image(
        wall, Cameras.at(0.0, 0.0), 8, all_occupied(), NumbaRenderer(), step_size=0.005, rays_per_chunk=17
    )
    assert image.colour.shape == (1, 8, 8, 3)
    assert image.opacity.shape == image.depth.shape == (1, 8, 8)
    torch.testing.assert_close(image.colour[0, 1, 1], torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=1e-3)
    torch.testing.assert_close(image.colour[0, 6, 6], torch.tensor([0.0, 1.0, 0.0]), rtol=0, atol=1e-3)
    # A plane across the view has one depth all over; half a step and the wall's softness blur it.
    torch.testing.assert_close(image.depth, torch.full((1, 8, 8), 2.25), rtol=0, atol=0.006)


@each_backend
def test_nan_comes_out(renderer: VolumeRenderer) -> None:
    samples = RaySamples(
        torch.tensor([0, 1]), torch.tensor([1.0, 1.0]), torch.tensor([1.5, 1.5]), torch.tensor([0, 1, 2])
    )
    render = renderer.composite(torch.tensor([float("nan"), 1.0]), torch.ones(2, 1), samples)
    assert render.opacity.isnan().tolist() == [True, False]


def test_cuda_without_a_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match="needs a CUDA device"):
        make_volume_renderer("cuda_packages")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA and nerfacc")
def test_nerfacc_renders_as_pytorch() -> None:
    pytest.importorskip("nerfacc", reason="needs CUDA and nerfacc")
    renderer, reference = make_volume_renderer("cuda_packages"), TorchRenderer()
    rays_o, rays_d = (rays.to("cuda") for rays in camera_rays(16))
    grid = half_occupied().to("cuda")
    ours = renderer.march(rays_o, rays_d, grid, 0.05)
    theirs = reference.march(rays_o, rays_d, grid, 0.05)
    assert abs(len(ours) - len(theirs)) <= 0.01 * len(theirs)  # midpoints at the faces of cells
    density = (torch.rand(len(theirs), device="cuda") * 5).requires_grad_()
    colour = torch.rand(len(theirs), 3, device="cuda").requires_grad_()
    gradients = []
    for backend in (renderer, reference):
        loss, _ = loss_of_all_outputs(backend, density, colour, theirs)
        gradients.append(torch.autograd.grad(loss, [density, colour]))
    for gradient, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4)
