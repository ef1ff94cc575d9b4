"""The rasterisers against closed forms, the brute-force reference, finite differences, and each other."""

from collections.abc import Callable
from math import pi, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from mpod_pipeline.geometry.marching_tetrahedra import marching_tetrahedra
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import Raster, numba_, rasterize_numpy, torch_
from tests.geometry.shapes import sphere, unit_grid
from tests.rendering import reference

FRONT = Cameras.at(0.0, 0.0)
Rasterize = Callable[[Tensor, Tensor, Tensor, Cameras, int], Raster]


@pytest.fixture(params=[numba_.rasterize, torch_.rasterize], ids=["numba", "torch"])
def rasterize(request: pytest.FixtureRequest) -> Rasterize:
    """Each rasteriser that runs on a CPU."""
    by: Rasterize = request.param
    return by


def facing(corners: list[tuple[float, float]], depth: float) -> Tensor:
    """World points that the front camera sees at the given NDC positions and depth: [N, 3]."""
    scale = FRONT.half_frame * depth
    return torch.tensor([[FRONT.distance - depth, x * scale, y * scale] for x, y in corners])


QUAD = torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_handedness_of_the_photos_view(rasterize: Rasterize) -> None:
    """+y appears at the right, +z at the top; of two balls on the x axis the one on +x hides the other."""
    vertices, faces = sphere(6, 8, 0.1)
    at = torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]])
    scene = (vertices + at[:, None]).reshape(-1, 3)
    scene_faces = torch.cat([faces + i * len(vertices) for i in range(4)])
    index = rasterize(scene, scene_faces, scene, FRONT, 65).face_index[0]
    ball = torch.where(index >= 0, index // len(faces), -1)
    rows, columns = torch.where(ball == 0)
    assert columns.min() > 40 and rows.min() > 25 and rows.max() < 40
    rows, columns = torch.where(ball == 1)
    assert rows.max() < 25 and columns.min() > 25 and columns.max() < 40
    assert ball[32, 32] == 2
    assert (ball != 3).all()


@pytest.mark.parametrize("elevation", [0.0, 40.0])
def test_the_area_of_a_sphere(rasterize: Rasterize, elevation: float) -> None:
    """Seen from distance D a sphere of radius r fills a circle of tan(asin(r / D)) at unit depth."""
    vertices, faces = sphere(64, 128, 0.8)
    cameras = Cameras.at([0.0, 77.0], elevation)
    opacity = rasterize(vertices, faces, vertices, cameras, 64).opacity
    radius = 0.8 / sqrt(cameras.distance**2 - 0.8**2) / cameras.half_frame
    # the polyhedron's own outline lies inside by about (pi / 64)**2 / 6 of the area
    assert opacity.mean(dim=(1, 2)).tolist() == pytest.approx([pi * radius**2 / 4] * 2, rel=1.5e-3)


def test_the_area_of_a_square_is_exact_between_pixels(rasterize: Rasterize) -> None:
    """An axis-parallel square of side 8.6 pixels: each row sums to 8.6, whatever the offset of its edges."""
    size, side = 16, 8.6
    for shift in (0.0, 0.13, 0.31, 0.62):
        low, high = (3 + shift) * 2 / size - 1, (3 + shift + side) * 2 / size - 1
        corners = facing([(low, low), (high, low), (high, high), (low, high)], 2.0)
        opacity = rasterize(corners, QUAD, corners, FRONT, size).opacity[0]
        middle = opacity[8].sum()
        # a coordinate in pixels has an error of about 1e-6 * 16 in float32
        assert float(middle) == pytest.approx(side, abs=1e-4)
        assert float(opacity[:, 8].sum()) == pytest.approx(side, abs=1e-4)


def test_the_nearer_surface_is_seen_in_either_order(rasterize: Rasterize) -> None:
    near, far = (facing([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], d) for d in (1.5, 3.0))
    for scene, expected in (([near, far], 0), ([far, near], 1)):
        faces = torch.cat([QUAD, QUAD + 4])
        raster = rasterize(torch.cat(scene), faces, torch.zeros(8, 1), FRONT, 9)
        assert raster.face_index[0, 4, 4] // 2 == expected
        assert float(raster.depth[0, 4, 4]) == pytest.approx(1.5)


def test_intersecting_surfaces_meet_at_their_common_line(rasterize: Rasterize) -> None:
    """Two slanted squares that cross at the vertical middle: each is in front in its own half."""
    left_near = torch.cat(
        [facing([(-0.8, -0.8)], 2), facing([(0.8, -0.8)], 3), facing([(0.8, 0.8)], 3), facing([(-0.8, 0.8)], 2)]
    )
    right_near = torch.cat(
        [facing([(-0.8, -0.8)], 3), facing([(0.8, -0.8)], 2), facing([(0.8, 0.8)], 2), facing([(-0.8, 0.8)], 3)]
    )
    scene = torch.cat([left_near, right_near])
    index = rasterize(scene, torch.cat([QUAD, QUAD + 4]), scene, FRONT, 32).face_index[0]
    assert (index[10:20, 5:16] // 2 == 0).all()
    assert (index[10:20, 16:27] // 2 == 1).all()


def test_interpolation_is_perspective_correct(rasterize: Rasterize) -> None:
    """Halfway on screen between depths 1 and 3 is a quarter of the way: (1/3) / (1 + 1/3)."""
    corners = torch.cat([facing([(-1, -1)], 1), facing([(1, -1)], 3), facing([(1, 1)], 3), facing([(-1, 1)], 1)])
    attributes = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    raster = rasterize(corners, QUAD, attributes, FRONT, 3)
    assert float(raster.attributes[0, 1, 1, 0]) == pytest.approx(0.25, abs=1e-6)
    # 1 / depth is linear on screen: (1 + 1/3) / 2
    assert float(raster.depth[0, 1, 1]) == pytest.approx(1.5, abs=1e-6)


def test_interpolated_positions_lie_on_the_pixels_rays(rasterize: Rasterize) -> None:
    vertices, faces = sphere(20, 30, 0.7)
    cameras = Cameras.at([30.0, 200.0], [10.0, -40.0])
    raster = rasterize(vertices, faces, vertices, cameras, 48)
    origins, directions = cameras.rays(48, 48)
    inside = raster.face_index >= 0
    offset = (raster.attributes - origins)[inside]
    along = (offset * directions[inside]).sum(-1, keepdim=True)
    assert torch.allclose(offset, along * directions[inside], atol=1e-5)


def test_orientation_does_not_matter(rasterize: Rasterize) -> None:
    vertices, faces = sphere(12, 16, 0.7)
    one, other = (rasterize(vertices, f, vertices, FRONT, 32) for f in (faces, faces.flip(1)))
    assert torch.equal(one.face_index, other.face_index)
    assert torch.allclose(one.opacity, other.opacity, atol=1e-5)


def test_faces_that_reach_behind_the_camera_are_dropped(rasterize: Rasterize) -> None:
    beside = facing([(-0.5, -0.5), (0.5, -0.5), (0.0, 0.5)], 2.0)
    behind = beside.clone()
    behind[0, 0] = FRONT.distance + 0.1
    scene = torch.cat([beside, behind]).requires_grad_()
    raster = rasterize(scene, torch.tensor([[0, 1, 2], [3, 4, 5]]), scene, FRONT, 32)
    alone = rasterize(beside, torch.tensor([[0, 1, 2]]), beside, FRONT, 32)
    assert torch.equal(raster.face_index, alone.face_index)
    assert torch.equal(raster.opacity, alone.opacity)
    (raster.opacity.sum() + raster.attributes.sum()).backward()
    assert scene.grad is not None and (scene.grad[3:] == 0).all() and scene.grad.isfinite().all()


def test_outside_there_is_nothing_and_soft_pixels_show_the_surface(rasterize: Rasterize) -> None:
    vertices, faces = sphere(24, 40, 0.6)
    raster = rasterize(vertices, faces, torch.full((len(vertices), 2), 5.0), FRONT, 40)
    outside = raster.face_index < 0
    soft = outside & (raster.opacity > 0)
    assert soft.any()
    assert torch.allclose(raster.attributes[soft], torch.tensor(5.0))
    assert (raster.attributes[outside & (raster.opacity == 0)] == 0).all()
    assert (raster.depth[outside] == 0).all()


def test_an_empty_picture(rasterize: Rasterize) -> None:
    away = facing([(1.5, 1.5), (1.9, 1.5), (1.5, 1.9)], 2.0)
    raster = rasterize(away, torch.tensor([[0, 1, 2]]), away, FRONT, 8)
    assert (raster.face_index == -1).all() and (raster.opacity == 0).all()


def crumpled_ring() -> tuple[Tensor, Tensor, Tensor, Cameras]:
    """A deformed ring with a hole, random attributes, two close views in which it leaves the frame."""
    generator = torch.Generator().manual_seed(0)
    around, along = torch.meshgrid(torch.arange(12), torch.arange(7), indexing="ij")
    u, v = around * 2 * pi / 12, along * 2 * pi / 7
    ring = torch.stack([(0.6 + 0.25 * v.cos()) * u.cos(), (0.6 + 0.25 * v.cos()) * u.sin(), 0.25 * v.sin()], -1)
    vertices = ring.reshape(-1, 3).double()
    vertices += 0.03 * torch.randn(vertices.shape, generator=generator, dtype=torch.float64)
    here, next_u, next_v = (around * 7 + along, (around + 1) % 12 * 7 + along, around * 7 + (along + 1) % 7)
    both = (around + 1) % 12 * 7 + (along + 1) % 7
    faces = torch.cat([torch.stack([here, next_u, both], -1), torch.stack([here, both, next_v], -1)]).reshape(-1, 3)
    attributes = torch.randn(len(vertices), 3, generator=generator, dtype=torch.float64)
    azimuth, elevation = torch.tensor([20.0, 200.0]), torch.tensor([35.0, -15.0])
    return vertices, faces, attributes, Cameras(azimuth.double(), elevation.double(), 1.8, 60.0)


def test_the_kernel_agrees_with_the_reference_forward_and_backward(rasterize: Rasterize) -> None:
    vertices, faces, attributes, cameras = crumpled_ring()
    size = 20
    generator = torch.Generator().manual_seed(1)
    on_attributes = torch.randn(2, size, size, 3, generator=generator, dtype=torch.float64)
    on_opacity = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    rasters, gradients = [], []
    for backend, dtype in ((reference.rasterize, torch.float64), (rasterize, torch.float32)):
        v = vertices.to(dtype).requires_grad_()
        a = attributes.to(dtype).requires_grad_()
        on = Cameras(cameras.azimuth_deg.to(dtype), cameras.elevation_deg.to(dtype), 1.8, 60.0)
        raster = backend(v, faces, a, on, size)
        loss = (raster.attributes * on_attributes).sum() + 3 * (raster.opacity * on_opacity).sum()
        gradients.append([gradient.double() for gradient in torch.autograd.grad(loss, [v, a])])
        rasters.append(raster)
    expected, actual = rasters
    assert ((expected.opacity > 0) & (expected.opacity < 1)).sum() > 60
    assert torch.equal(expected.face_index, actual.face_index)
    # float32 positions at 20 pixels: 1e-6 * 20
    assert torch.allclose(expected.opacity, actual.opacity.double(), atol=2e-5)
    assert torch.allclose(expected.attributes, actual.attributes.double(), atol=5e-5)
    assert torch.allclose(expected.depth, actual.depth.double(), atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        # relative to the largest: float32 sums of terms of both signs
        assert (one - other).abs().max() < 1e-5 * one.abs().max()


@pytest.mark.parametrize("of", ["opacity", "attributes"])
def test_the_gradient_agrees_with_finite_differences(rasterize: Rasterize, of: str) -> None:
    """A step along the gradient changes the loss by the gradient's length."""
    vertices, faces = sphere(10, 14, 0.7)
    ramp = torch.linspace(-1, 1, 48)

    def loss(v: Tensor) -> Tensor:
        raster = rasterize(v, faces, v, Cameras.at(25.0, 30.0), 48)
        if of == "opacity":
            return (raster.opacity * ramp).sum() + (raster.opacity * ramp[:, None].square()).sum()
        return (raster.attributes.square().sum(-1) * ramp[:, None])[:, 18:30, 18:30].sum()

    point = vertices.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(point), point)
    direction = gradient / gradient.norm()
    # a hundredth of a pixel: far less, and float32 drowns it; far more, and pixels begin to change sides
    step = 1e-3
    numeric = (loss(vertices + step * direction) - loss(vertices - step * direction)) / (2 * step)
    assert float(numeric) == pytest.approx(float(gradient.norm()), rel=0.01)


def test_the_area_grows_with_the_radius_as_it_should(rasterize: Rasterize) -> None:
    """d(projected area) / d(radius) of a sphere in closed form, though its faces are smaller than a pixel."""
    vertices, faces = sphere(96, 128)
    radius = torch.tensor(0.6, requires_grad=True)
    cameras = Cameras.at(15.0, 20.0)
    for size, tolerance in ((24, 0.06), (96, 0.02)):  # the outline's zigzag within a pixel costs 4% at 24
        area = rasterize(vertices * radius, faces, vertices, cameras, size).opacity.mean()
        (gradient,) = torch.autograd.grad(area, radius)
        # a quarter of a disc whose radius² is r² / ((D² - r²) h²)
        d2, h2 = cameras.distance**2, cameras.half_frame**2
        assert float(gradient) == pytest.approx(pi / 4 * 2 * 0.6 * d2 / (d2 - 0.36) ** 2 / h2, rel=tolerance)


def test_silhouettes_move_a_sphere_to_an_ellipsoids_masks(rasterize: Rasterize) -> None:
    vertices, faces = sphere(16, 24, 0.55)
    cameras = Cameras.at([0.0, 45.0, 90.0, 135.0, 0.0], [0.0, 0.0, 0.0, 0.0, 80.0])
    target = rasterize(vertices * torch.tensor([0.8, 1.5, 1.1]), faces, vertices, cameras, 64).opacity
    stretch = torch.zeros(3, requires_grad=True)
    offsets = torch.zeros_like(vertices, requires_grad=True)
    optimiser = torch.optim.Adam([{"params": [stretch], "lr": 0.03}, {"params": [offsets], "lr": 0.002}])

    def overlap(opacity: Tensor) -> float:
        a, b = opacity > 0.5, target > 0.5
        return float((a & b).sum() / (a | b).sum())

    history = []
    for _ in range(60):
        opacity = rasterize(vertices * stretch.exp() + offsets, faces, vertices, cameras, 64).opacity
        loss = (opacity - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(overlap(opacity.detach()))
    assert history[0] < 0.75
    assert history[-1] > 0.97


def test_the_plain_kernel_agrees_with_the_differentiable_one(rasterize: Rasterize) -> None:
    vertices, faces = sphere(20, 30, 0.7)
    cameras = Cameras.at(40.0, 25.0)
    points = cameras.project(vertices)[0].numpy()
    index, barycentric, depth = rasterize_numpy(points, faces.numpy(), 48, 48)
    raster = rasterize(vertices, faces, vertices, cameras, 48)
    assert np.array_equal(index, raster.face_index[0].numpy())
    assert np.allclose(depth, raster.depth[0].numpy(), atol=1e-6)
    seen = index >= 0
    positions = np.einsum("ni,nic->nc", barycentric[seen], vertices.numpy()[faces.numpy()[index[seen]]])
    assert np.allclose(positions, raster.attributes[0].numpy()[seen], atol=1e-6)
    assert np.allclose(barycentric[seen].sum(-1), 1, atol=1e-6)


def fine_ball() -> tuple[Tensor, Tensor]:
    """A wavy ball of faces smaller than pixels."""
    grid = unit_grid(48)
    x, y, z = grid.vertices.unbind(dim=1)
    sdf = 0.6 + 0.08 * (9 * x).sin() * (7 * y).cos() * (8 * z).sin() - grid.vertices.norm(dim=1)
    mesh = marching_tetrahedra(grid.vertices, grid.tetrahedra, sdf)
    return mesh.vertices, mesh.faces


def soup() -> tuple[Tensor, Tensor]:
    """Triangles of all sizes and orientations that pierce each other, some flat, some behind the camera."""
    generator = torch.Generator().manual_seed(4)
    centres = 2.4 * torch.rand(300, 1, 3, generator=generator) - 1.2
    sizes = 10 ** (-2.5 * torch.rand(300, 1, 1, generator=generator))
    corners = centres + sizes * torch.randn(300, 3, 3, generator=generator)
    corners[::11, 2] = (corners[::11, 0] + corners[::11, 1]) / 2
    return corners.reshape(-1, 3), torch.arange(900).view(300, 3)


def on_pixel_centres() -> tuple[Tensor, Tensor]:
    """A sheet of squares whose corners and edges lie on pixels' centres: faces share them, and are equally near."""
    ticks = (torch.arange(2, 15, 3) + 0.5) * 2 / 32 - 1
    sheet = facing([(float(x), float(y)) for x in ticks for y in ticks], 2.0)
    quads = [[i * 5 + j, i * 5 + j + 5, i * 5 + j + 6, i * 5 + j + 1] for i in range(4) for j in range(4)]
    return sheet, torch.tensor([[a, b, c] for a, b, c, _ in quads] + [[a, c, d] for a, _, c, d in quads])


@pytest.mark.parametrize("scene", [fine_ball, soup, on_pixel_centres])
def test_pytorch_draws_what_the_kernels_draw(
    scene: Callable[[], tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same face at every pixel; opacity and surface, and the gradients of both, to float32's rounding."""
    monkeypatch.setattr(torch_, "PAIRS_AT_ONCE", 1000)  # in many parts
    vertices, faces = scene()
    cameras, size = Cameras.at([0.0, 200.0], [0.0, 35.0]), 32 if scene is on_pixel_centres else 96
    generator = torch.Generator().manual_seed(2)
    attributes = torch.randn(len(vertices), 4, generator=generator)
    on_surface = torch.randn(2, size, size, 4, generator=generator)
    on_opacity = torch.randn(2, size, size, generator=generator)
    rasters, gradients = [], []
    for backend in (numba_, torch_):
        v, a = vertices.clone().requires_grad_(), attributes.clone().requires_grad_()
        raster = backend.rasterize(v, faces, a, cameras, size)
        by_opacity = torch.autograd.grad((raster.opacity * on_opacity).sum(), v, retain_graph=True)
        gradients.append([*by_opacity, *torch.autograd.grad((raster.attributes * on_surface).sum(), [v, a])])
        rasters.append(raster)
    kernels, pytorch = rasters
    assert torch.equal(kernels.face_index, pytorch.face_index)
    assert ((kernels.opacity > 0) & (kernels.opacity < 1)).sum() > 20
    # both compute in float64 and round once to float32, except for sums of at most four changes of a pixel
    torch.testing.assert_close(pytorch.opacity, kernels.opacity, rtol=0, atol=1e-6)
    torch.testing.assert_close(pytorch.depth, kernels.depth, rtol=1e-6, atol=0)
    torch.testing.assert_close(pytorch.attributes, kernels.attributes, rtol=0, atol=5e-6)
    # relative to the largest: the kernels read barycentrics off float32 pictures
    for actual, expected in zip(*reversed(gradients), strict=True):
        assert (actual - expected).abs().max() < 5e-5 * expected.abs().max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_pytorch_draws_what_the_kernels_draw() -> None:
    """But for a projected point that is rounded otherwise, and moves a pixel at an edge to the next face."""
    vertices, faces = fine_ball()
    cameras = Cameras.at([0.0, 200.0], [0.0, 35.0])
    results = []
    for backend, device in ((numba_, "cpu"), (torch_, "cuda")):
        v = vertices.to(device).requires_grad_()
        raster = backend.rasterize(v, faces.to(device), v, cameras.to(device), 256)
        (raster.attributes.square().mean() + raster.opacity.square().mean()).backward()
        assert v.grad is not None
        results.append((raster.face_index.cpu(), raster.opacity.detach().cpu(), v.grad.cpu()))
    kernels, pytorch = results
    assert (kernels[0] == pytorch[0]).float().mean() > 0.9999
    assert ((kernels[1] - pytorch[1]).abs() > 1e-3).float().mean() < 1e-4
    assert (kernels[2] - pytorch[2]).norm() < 0.01 * kernels[2].norm()
