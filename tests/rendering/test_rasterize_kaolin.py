"""kaolin's DIB-R behind our interface, against the CPU's rasteriser."""

import importlib.util

import pytest
import torch

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize
from tests.geometry.shapes import sphere

HAS_KAOLIN = importlib.util.find_spec("kaolin") is not None
needs_kaolin = pytest.mark.skipif(not (torch.cuda.is_available() and HAS_KAOLIN), reason="needs CUDA and kaolin")


@pytest.mark.parametrize("device", [True, False])
@pytest.mark.skipif(HAS_KAOLIN, reason="kaolin is installed")
def test_without_kaolin_or_a_device_the_error_says_what_to_do(device: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device)
    vertices, faces = sphere(4, 5)
    with pytest.raises(SetupError, match=rf"{'with kaolin' if device else 'needs a CUDA device'}.*backend 'torch'"):
        rasterize(vertices, faces, vertices, Cameras.at(0.0, 0.0), 8, backend="cuda_packages")


@needs_kaolin
def test_surfaces_and_their_gradients_agree_with_the_cpus() -> None:
    vertices, faces = sphere(20, 30, 0.7)
    cameras = Cameras.at([30.0, 200.0], [10.0, -40.0])
    results = []
    for device, backend in (("cpu", "numba"), ("cuda", "cuda_packages")):
        moving = vertices.clone().to(device).requires_grad_()
        attributes = (vertices + 0.5).to(device).requires_grad_()
        raster = rasterize(moving, faces.to(device), attributes, cameras.to(device), 64, backend)  # type: ignore[arg-type]
        inside = (raster.face_index >= 0)[..., None]
        (raster.attributes.square() * inside).sum().backward()
        results.append(
            [t.cpu() for t in (raster.face_index, raster.attributes * inside)]
            + [moving.grad.cpu(), attributes.grad.cpu()]
        )
    cpu, cuda = results
    assert (cpu[0] == cuda[0]).float().mean() > 0.995  # centres on an edge may fall to either face
    assert (cpu[1] - cuda[1]).abs().median() < 1e-5
    assert (cpu[2] - cuda[2]).norm() < 0.02 * cpu[2].norm()
    assert (cpu[3] - cuda[3]).norm() < 0.02 * cpu[3].norm()


@needs_kaolin
def test_the_soft_mask_moves_the_outline_outwards() -> None:
    vertices, faces = sphere(20, 30, 0.6)
    radius = torch.tensor(1.0, device="cuda", requires_grad=True)
    cameras = Cameras.at(0.0, 0.0).to("cuda")
    raster = rasterize(vertices.cuda() * radius, faces.cuda(), vertices.cuda(), cameras, 64, backend="cuda_packages")
    raster.opacity.sum().backward()
    assert radius.grad is not None and radius.grad > 0
    soft = (raster.face_index < 0) & (raster.opacity > 0)
    assert raster.attributes[soft].norm(dim=-1).min() > 0.3
