"""The sample catalog: true models that agree with their photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mpod_pipeline.cutout.photos import decode_photo
from mpod_pipeline.datasets import PhotoFolder, ProductSettings
from mpod_pipeline.geometry.glb import from_glb
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.cutouts import reference_view
from mpod_pipeline.method.segmentation import SegmentationParameters, load_segmentation_models, segment
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.ground_truth import ground_truth_mesh
from mpod_pipeline.synthesis.product import make_product, place
from mpod_pipeline.synthesis.shop import Backdrop, shop_photo
from mpod_pipeline.synthesis.studio import on_white, set_scene

SAMPLES = Path(__file__).parents[2] / "data/01_raw"


def test_ground_truth_looks_like_the_product_from_the_front_and_behind() -> None:
    product = make_product("bottle", 7)
    scene = set_scene(product, place(product, 0.0, 10.0))
    cameras = Cameras.at([0.0, 160.0], 10.0)
    picture, opacity, _ = draw(ground_truth_mesh(scene, 256), cameras, 64)
    photos = scene.photograph(cameras, 64)
    truth = on_white(photos).astype(np.float32) / 255
    error = (picture.numpy() - truth) ** 2
    assert -10 * np.log10(error.mean()) > 26  # highlights are left out of the texture
    alpha = photos[..., 3] > 127
    seen = opacity.numpy() > 0.5
    # Both sample 2 x 2 a pixel, one of them with softened edges: a quarter of a pixel along a slim outline.
    assert (alpha & seen).sum() / (alpha | seen).sum() > 0.94


def test_a_shop_photo_has_paper_a_shadow_and_the_product() -> None:
    product = make_product("mug", 1)
    scene = set_scene(product, place(product, 0.0, 10.0))
    backdrop = Backdrop(size=(240, 200), frame=180, centre=(0.55, 0.5), falloff=0.0, shadow=0.5)
    photo = shop_photo(scene, 10.0, backdrop).astype(float)
    assert photo.shape == (200, 240, 3)
    np.testing.assert_allclose(photo[:10, :10].mean((0, 1)), backdrop.paper, atol=3)
    alpha = scene.photograph(Cameras.at(0.0, 10.0), 180)[0, ..., 3]
    outside = np.ones((200, 240), bool)
    outside[10:190, 42:222] = alpha == 0
    assert photo[outside].min() < 0.85 * 244  # the shadow


@pytest.mark.parametrize("name", ["blue-trainer", "kite-mug", "striped-lamp"])
def test_the_shipped_ground_truth_has_its_photos_colours(name: str) -> None:
    mesh = from_glb((SAMPLES / "ground_truth" / f"{name}.glb").read_bytes())
    picture, opacity, _ = draw(mesh, Cameras.at(0.0, 10.0), 64)
    inside = picture[0][opacity[0] > 0.9]
    photo = next(SAMPLES.glob(f"{name}.*"))
    with Image.open(photo) as image:
        pixels = torch.from_numpy(np.asarray(image.convert("RGB")).reshape(-1, 3)[::97].astype(np.float32) / 255)
    nearest = torch.cdist(inside[::5], pixels).amin(dim=1)
    assert float(nearest.median()) < 0.06


@pytest.mark.parametrize("name", ["blue-trainer.jpg", "kite-mug.png"])
def test_the_shipped_ground_truth_stands_as_in_its_photo(name: str) -> None:
    """Not turned, and not mirrored: both products look different from the other side."""
    parameters = SegmentationParameters()
    photo = decode_photo((SAMPLES / name).read_bytes())
    cutout = segment(photo, parameters, load_segmentation_models(parameters)).picture
    photo_view = reference_view(cutout, 96)
    mesh = from_glb((SAMPLES / "ground_truth" / f"{Path(name).stem}.glb").read_bytes())
    picture, opacity, _ = draw(mesh, Cameras.at(0.0, 10.0), 96)
    seen, mask = opacity[0] > 0.5, photo_view.mask > 0.5

    def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one & other).sum() / (one | other).sum())

    assert overlap(seen, mask) > 0.93  # the cutout's own error and the texture's highlights left out
    assert overlap(seen.flip(1), mask) < 0.85
    target = photo_view.picture.permute(1, 2, 0)
    assert (picture[0] - target).square().mean() < 0.3 * (picture[0].flip(1) - target).square().mean()


def test_each_sample_has_a_size_of_its_own() -> None:
    sizes = {product: said["long_side_m"] for product, said in ProductSettings(path=str(SAMPLES)).load().items()}
    assert sizes == {"blue-trainer": "0.28", "kite-mug": "0.13", "striped-lamp": "0.45"}
    photos = PhotoFolder(path=str(SAMPLES)).load()
    assert list(photos) == list(sizes) and not photos.remarks
