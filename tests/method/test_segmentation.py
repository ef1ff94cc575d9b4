"""On synthetic shop photos, whose masks are known to a fraction of a pixel."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.cutout import saliency
from mpod_pipeline.cutout.foreground import (
    ROOM,
    confidence,
    departure_from_page,
    find_foreground,
    find_picture,
    is_the_whole,
    middle_pieces,
    without_holes,
)
from mpod_pipeline.cutout.matting import bounding_box, extend_colours, frame, matte
from mpod_pipeline.cutout.own_alpha import at_full_opacity, on_page, sure_to_cut_out
from mpod_pipeline.cutout.photos import decode_photo
from mpod_pipeline.cutout.saliency import IMAGENET, SaliencyNetwork
from mpod_pipeline.cutout.sam import SamParameters, find_foreground_with_sam, load_sam, prompts_from, sense
from mpod_pipeline.method.segmentation import (
    SegmentationModels,
    SegmentationParameters,
    load_segmentation_models,
    segment,
)

Image = NDArray[np.uint8]
SHAPE = (300, 400)


@pytest.fixture(scope="module")
def models() -> SegmentationModels:
    return load_segmentation_models(SegmentationParameters())


def coverage(draw: Callable[[NDArray[np.uint8], int], object]) -> NDArray[np.float64]:
    """Coverage [H, W] in [0, 1] of what ``draw(canvas, k)`` draws at k times the size."""
    canvas = np.zeros((SHAPE[0] * 8, SHAPE[1] * 8), np.uint8)
    draw(canvas, 8)
    return cv2.resize(canvas, SHAPE[::-1], interpolation=cv2.INTER_AREA) / 255


def mug(canvas: NDArray[np.uint8], k: int) -> None:
    cv2.ellipse(canvas, (250 * k, 150 * k), (45 * k, 50 * k), 0, 0, 360, 255, 14 * k)
    cv2.rectangle(canvas, (120 * k, 80 * k), (240 * k, 235 * k), 255, -1)
    cv2.ellipse(canvas, (180 * k, 235 * k), (60 * k, 14 * k), 0, 0, 360, 255, -1)


def shop_photo(
    backdrop: tuple[int, int, int] = (240, 240, 238),
    product: tuple[int, int, int] = (40, 90, 170),
    shadow: float = 0.35,
    offset: tuple[int, int] = (0, 0),
) -> tuple[Image, NDArray[np.float64]]:
    """A mug with bands and round shading before a lit backdrop, with a soft shadow; and its coverage."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    paint = np.ones((*SHAPE, 3)) * product
    paint[(y > 120) & (y < 140)] = (200, 60, 50)
    paint[(y > 180) & (y < 200)] = (230, 190, 80)
    paint *= (1 - 0.45 * ((x - 165) / 75.0) ** 2).clip(0.4)[..., None]
    alpha = coverage(mug)
    depth = np.exp(-(((x - 205) / 85) ** 2) - ((y - 243) / 16) ** 2)
    move = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], float)
    paint, alpha, depth = (
        cv2.warpAffine(layer, move, SHAPE[::-1], borderMode=cv2.BORDER_CONSTANT) for layer in (paint, alpha, depth)
    )
    light = 1 - 0.1 * ((x / 400 - 0.4) ** 2 + (y / 300 - 0.4) ** 2)
    behind = np.ones((*SHAPE, 3)) * backdrop * (light * (1 - shadow * depth))[..., None]
    photo = paint * alpha[..., None] + behind * (1 - alpha[..., None]) + generator.normal(0, 1, (*SHAPE, 3))
    return photo.round().clip(0, 255).astype(np.uint8), alpha


def iou(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"backdrop": (190, 190, 195)},
        {"backdrop": (25, 25, 28), "shadow": 0.2},
        {"backdrop": (110, 150, 210), "product": (60, 120, 60)},
        {"offset": (90, 25)},
        {"offset": (-110, -70)},
        {"product": (120, 120, 122)},  # as colourless as the shadow
    ],
    ids=lambda options: ",".join(options) or "plain",
)
def test_shop_photos(options: dict[str, tuple[int, int, int]], models: SegmentationModels) -> None:
    photo, alpha = shop_photo(**options)  # type: ignore[arg-type]
    mask = find_foreground(photo, models.network).mask
    # A border one pixel off all round would cost the mug about 0.05.
    assert iou(mask, alpha > 0.5) > 0.95


def test_nearly_white_on_white(models: SegmentationModels) -> None:
    photo, alpha = shop_photo(backdrop=(250, 250, 250), product=(226, 224, 220), shadow=0.2)
    # Where mug and shadow are equally bright no one sees a border; the part beside it may be lost.
    assert iou(find_foreground(photo, models.network).mask, alpha > 0.5) > 0.85


@pytest.mark.parametrize("floor", [True, False])
def test_the_page_between_a_tables_legs_is_left_out_though_its_shadow_closes_it(floor: bool) -> None:
    """The network gave all that is between the legs. The shadow under them is soft; nothing else may be: higher up, a
    soft lower edge is the lit side of something white.
    """
    departure = np.zeros((200, 200), np.float32)
    departure[60:80, 40:160] = 60  # the top
    departure[60:150, 40:50] = departure[60:150, 150:160] = 60  # the legs
    shadow = np.concatenate([np.linspace(0, 20, 12), np.linspace(20, 0, 10)])
    departure[138:160, 50:150] = shadow[:, None]
    mask = np.zeros((200, 200), bool)
    mask[60:150, 40:160] = True
    if not floor:
        mask[150:190, 40:160] = True  # it stands lower
        departure[150:190, 40:160] = 60
    found = without_holes(mask, departure)
    assert found[:80, 40:160].sum() > 0.9 * 20 * 120 and found[90:140, 42:48].all()
    between = found[90:148, 60:140]
    assert not between.any() if floor else between.all()


def test_the_shadow_and_the_handles_hole_are_left_out(models: SegmentationModels) -> None:
    photo, alpha = shop_photo()
    mask = find_foreground(photo, models.network).mask
    assert not mask[150, 262] and not mask[256:, :].any()
    assert alpha[150, 290] == 1 and mask[150, 290]


def test_a_product_that_fills_its_photo(models: SegmentationModels) -> None:
    photo, alpha = shop_photo()
    close_up = (slice(68, 262), slice(108, 310))
    assert iou(find_foreground(photo[close_up].copy(), models.network).mask, alpha[close_up] > 0.5) > 0.95


def test_letterbox_bars_are_no_part_of_the_picture(models: SegmentationModels) -> None:
    photo, alpha = shop_photo()
    barred = cv2.copyMakeBorder(photo, 60, 60, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0)).astype(np.uint8)
    rows, columns = find_picture(barred)
    # A row or two of the picture go with the bar, because compression smears its edge.
    assert 60 <= rows.start <= 64 and 356 <= rows.stop <= 360 and columns == slice(0, 400)
    assert iou(find_foreground(barred, models.network).mask[60:360], alpha > 0.5) > 0.95


def test_even_backdrops_and_gradients_are_no_bars() -> None:
    everything = (slice(0, 300), slice(0, 400))
    assert find_picture(shop_photo()[0]) == everything
    flat = np.full((*SHAPE, 3), 250, np.uint8)
    flat[100:200, 150:250] = 30
    assert find_picture(flat) == everything
    ramp = np.repeat(np.linspace(90, 255, 300).astype(np.uint8)[:, None], 400, axis=1)
    assert find_picture(np.dstack([ramp] * 3)) == everything


def blank(kind: str) -> Image:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    page = np.full((*SHAPE, 3), 255.0)
    if kind == "lit":
        page *= (1 - 0.3 * ((x / 400 - 0.5) ** 2 + (y / 300 - 0.3) ** 2))[..., None]
    if kind in ("noisy", "lit"):
        page = page * 0.95 + np.random.default_rng(0).normal(0, 4, page.shape)
    return page.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["white", "noisy", "lit"])
def test_blank_pages_are_refused(kind: str, models: SegmentationModels) -> None:
    with pytest.raises(ProductError, match="blank"):
        segment(blank(kind), SegmentationParameters(), models)


def test_texture_all_over_is_refused_or_cut_to_a_part(models: SegmentationModels) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
    try:
        cutout = segment(noise, SegmentationParameters(), models).picture
    except ProductError as error:
        assert str(error).endswith(".")
    else:
        assert 0 < (cutout[..., 3] > 127).mean() < 0.9


# The cutout


@pytest.mark.parametrize("size, share", [(512, 0.8), (128, 0.8), (256, 0.6)])
def test_cutouts_are_square_centred_and_of_the_right_size(size: int, share: float, models: SegmentationModels) -> None:
    photo, _ = shop_photo(offset=(60, -30))
    cutout = segment(photo, SegmentationParameters(size=size, long_side=share), models).picture
    assert cutout.shape == (size, size, 4) and cutout.dtype == np.uint8
    top, left, bottom, right = bounding_box(cutout[..., 3] >= 128)
    # Half a pixel of rounding at each end.
    assert max(bottom - top, right - left) == pytest.approx(share * size, abs=1.5)
    assert (top + bottom) / 2 == pytest.approx(size / 2, abs=1)
    assert (left + right) / 2 == pytest.approx(size / 2, abs=1)


def test_a_cutout_is_as_large_as_its_photo_allows(models: SegmentationModels) -> None:
    for pixels, size in ((900, 512), (1200, 1280)):
        photo = np.zeros((1500, 1400, 4), np.uint8)
        photo[100 : 100 + pixels, 400:900] = (90, 60, 30, 255)
        cutout = segment(photo, SegmentationParameters(), models).picture
        assert cutout.shape == (size, size, 4)
        assert segment(photo, SegmentationParameters(size=256), models).picture.shape == (256, 256, 4)


def test_edges_have_no_halo(models: SegmentationModels) -> None:
    # A dark red disc on white, blurred as a lens blurs: on black nothing pale may remain round it.
    colour = np.array([120.0, 20, 25])
    alpha = cv2.GaussianBlur(coverage(lambda c, k: cv2.circle(c, (200 * k, 150 * k), 90 * k, 255, -1)), (0, 0), 1.2)
    photo = (colour * alpha[..., None] + 245 * (1 - alpha[..., None])).round().astype(np.uint8)
    cutout = segment(photo, SegmentationParameters(), models).picture
    soft = (cutout[..., 3] > 8) & (cutout[..., 3] < 247)
    assert soft.any()
    # What alpha weighs is what is seen: premultiplied departure from the disc's colour, in levels.
    departure = np.abs(cutout[..., :3] - colour).max(axis=2) * (cutout[..., 3] / 255)
    assert departure.max() < 16
    assert np.abs(cutout[cutout[..., 3] == 0][:, :3] - colour).max() < 16


def test_alpha_of_a_known_mixture() -> None:
    # Vertical edge between two flat colours, with coverages of 1/4 and 3/4 in two columns.
    alpha = np.repeat([[1.0] * 20 + [0.75, 0.25] + [0.0] * 18], 40, axis=0)
    product, backdrop = np.array([200.0, 40, 40]), np.array([40.0, 80, 220])
    photo = (product * alpha[..., None] + backdrop * (1 - alpha[..., None])).round().astype(np.uint8)
    cutout = matte(photo, alpha > 0.5)
    # The contrast is strong but finite, so the mask has a share of a hundredth.
    np.testing.assert_allclose(cutout[..., 3] / 255, alpha, atol=0.03)
    np.testing.assert_allclose(cutout[alpha > 0][:, :3], np.tile(product, (22 * 40, 1)), atol=12)


def test_cords_and_gaps_thinner_than_the_band_stay() -> None:
    y, x = np.mgrid[:120, :160]
    mask = ((np.abs(x - 40) < 30) & (np.abs((y % 20) - 10) < 8)) | ((np.abs(x - 120) < 2) & (np.abs(y - 60) < 50))
    photo = np.where(mask[..., None], (90, 70, 60), (200, 205, 210)).astype(np.uint8)
    assert iou(matte(photo, mask)[..., 3] > 127, mask) > 0.99


def test_transparent_pixels_bear_the_nearest_colour() -> None:
    cutout = np.zeros((9, 9, 4), np.uint8)
    cutout[2:7, 1:4] = (250, 10, 10, 255)
    cutout[2:7, 5:8] = (10, 250, 10, 255)
    extended = extend_colours(cutout)
    assert extended[4, 0, :3].tolist() == [250, 10, 10] and extended[0, 8, :3].tolist() == [10, 250, 10]
    np.testing.assert_array_equal(extended[..., 3], cutout[..., 3])


def test_framing_resamples_premultiplied() -> None:
    cutout = np.zeros((60, 90, 4), np.uint8)
    cutout[..., :3] = (0, 255, 0)  # a green that is nowhere seen
    cutout[20:40, 10:70] = (255, 0, 0, 255)
    for size in (32, 300):
        framed = frame(cutout, size=size, share=0.8)
        seen = framed[framed[..., 3] > 16]
        assert seen[:, 1].max() < 8 and seen[:, 0].min() > 247  # rounding of faint pixels


# Alpha


def with_alpha() -> Image:
    photo, alpha = shop_photo(offset=(40, 0))
    return np.dstack([photo, (alpha * 255).round().astype(np.uint8)])


def test_a_photos_own_alpha_is_taken(models: SegmentationModels) -> None:
    photo = with_alpha()
    cutout = segment(photo, SegmentationParameters(), models).picture
    expected = frame(extend_colours(photo), size=512, share=0.8)
    np.testing.assert_array_equal(cutout, expected)
    assert (segment(photo, SegmentationParameters(maker="alpha"), models).picture == expected).all()
    with_sam = SegmentationParameters(sam=SamParameters(checkpoint=Path("sam.pth"), model_type="vit_b"))
    assert (segment(photo, with_sam, models).picture == expected).all()  # and Segment Anything is not asked


def test_rounded_corners_are_no_cutout(models: SegmentationModels) -> None:
    photo, _ = shop_photo()
    corners = np.full(SHAPE, 255, np.uint8)
    corners[:12, :12] = 0
    rounded = np.dstack([photo, corners])
    assert sure_to_cut_out(rounded, models.network) == sure_to_cut_out(photo, models.network) == 0
    assert sure_to_cut_out(with_alpha(), models.network) == 1
    with pytest.raises(ProductError, match="transparen"):
        segment(rounded, SegmentationParameters(maker="alpha"), models)
    cutout = segment(rounded, SegmentationParameters(), models).picture
    assert 0.05 < (cutout[..., 3] > 127).mean() < 0.64


@pytest.mark.parametrize("height", [2, 4])
def test_a_line_is_this_products_trouble(height: int) -> None:
    """A wire across a large photo: nothing of it is left at the cutout's size."""
    wire = np.zeros((500, 2000, 4), np.uint8)
    wire[248 : 248 + height, :, :] = 255
    with pytest.raises(ProductError, match="too thin"):
        frame(wire, size=512, share=0.8)


def test_fully_transparent_photos_are_refused(models: SegmentationModels) -> None:
    nothing = np.zeros((64, 64, 4), np.uint8)
    with pytest.raises(ProductError, match="transparen"):
        segment(nothing, SegmentationParameters(maker="alpha"), models)
    with pytest.raises(ProductError, match="blank"):
        segment(nothing, SegmentationParameters(), models)


def test_transparency_is_flattened_on_white() -> None:
    pixel = np.array([[[100, 0, 50, 51]]], np.uint8)  # 51 / 255 = 1/5
    assert on_page(pixel).tolist() == [[[224, 204, 214]]]


def test_a_photo_file_goes_through(models: SegmentationModels) -> None:
    data = cv2.imencode(".jpg", shop_photo()[0][..., ::-1])[1].tobytes()
    cutout = segment(decode_photo(data), SegmentationParameters(size=128), models).picture
    np.testing.assert_allclose(cutout[64, 60, :3], (40, 90, 170), atol=60)  # shading darkens it
    assert cutout[64, 60, 3] == 255


# What shops' photos are like


def box(*, bottom: int = 300, right: int = 300) -> tuple[Image, NDArray[np.bool_]]:
    """A blue box with a yellow band before white, and its mask."""
    photo = np.full((*SHAPE, 3), 255, np.uint8)
    photo[40:bottom, 100:right] = (40, 80, 170)
    photo[110:150, 100:right] = (230, 200, 60)
    mask = np.zeros(SHAPE, bool)
    mask[40:bottom, 100:right] = True
    return photo, mask


@pytest.mark.parametrize("side", range(4))
def test_a_product_that_the_photo_cuts_off_is_whole(side: int, models: SegmentationModels) -> None:
    photo, mask = (np.rot90(picture, side).copy() for picture in box())
    assert iou(find_foreground(photo, models.network).mask, mask) > 0.95


@pytest.mark.parametrize("page", [255, 225, 200, 120])
def test_an_off_white_cushion_is_whole(page: int, models: SegmentationModels) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    alpha = coverage(lambda c, k: cv2.ellipse(c, (200 * k, 150 * k), (110 * k, 75 * k), 0, 0, 360, 255, -1))
    cushion = 240 - 12 * np.cos((x - 200) / 110 * 2) - 8 * (y - 150) / 75
    photo = cushion * alpha + page * (1 - alpha)
    photo = np.dstack([photo] * 3).round().clip(0, 255).astype(np.uint8)
    assert iou(find_foreground(photo, models.network).mask, alpha > 0.5) > 0.9


def test_what_fills_its_photo_is_refused_or_to_be_looked_at(models: SegmentationModels) -> None:
    rug = np.full((300, 200, 3), (150, 60, 40), np.uint8)
    rug[12:288, 12:188] = (225, 200, 150)
    rug[18:282, 18:182] = (150, 60, 40)
    cv2.ellipse(rug, (100, 150), (40, 60), 0, 0, 360, (60, 90, 60), -1)
    try:
        assert find_foreground(rug, models.network).confidence < SegmentationParameters().check_below
    except ProductError as error:
        assert "cannot be told from the background" in str(error)


def test_a_product_that_is_small_in_its_photo_keeps_its_details(models: SegmentationModels) -> None:
    photo, alpha = shop_photo()
    wide = cv2.copyMakeBorder(photo, 300, 300, 400, 400, cv2.BORDER_REPLICATE).astype(np.uint8)
    mask = find_foreground(wide, models.network).mask
    assert iou(mask[300:600, 400:800], alpha > 0.5) > 0.97 and mask.sum() < 1.05 * (alpha > 0.5).sum()
    assert not mask[450, 662]  # the handle's hole


def test_badges_and_banners_are_no_part_of_the_product(models: SegmentationModels) -> None:
    photo, alpha = shop_photo()
    cv2.circle(photo, (40, 40), 30, (215, 20, 40), -1)
    cv2.putText(photo, "-30%", (20, 45), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    found = find_foreground(photo, models.network)
    assert iou(found.mask, alpha > 0.5) > 0.95 and found.confidence > SegmentationParameters().check_below


def test_middle_pieces_by_hand() -> None:
    mask = np.zeros((100, 100), bool)
    mask[30:70, 30:70] = mask[2:20, 2:20] = mask[40:45, 72:75] = True  # product, badge, speck in the middle
    mask[40:60, 80:95] = True  # beside the middle
    expected = np.zeros_like(mask)
    expected[30:70, 30:70] = True
    assert (middle_pieces(mask) == expected).all()
    pair = np.zeros_like(mask)
    pair[30:70, 5:40] = pair[30:70, 60:95] = True
    assert (middle_pieces(pair) == pair).all()
    corner = np.zeros_like(mask)
    corner[:20, :20] = True  # nothing else was found: then it is the product
    assert (middle_pieces(corner) == corner).all()


@pytest.mark.parametrize("backdrop, product", [((25, 25, 28), (40, 90, 170)), ((110, 150, 210), (60, 120, 60))])
def test_holes_show_the_page(
    backdrop: tuple[int, int, int], product: tuple[int, int, int], models: SegmentationModels
) -> None:
    mask = find_foreground(shop_photo(backdrop, product, shadow=0.2)[0], models.network).mask
    assert mask[150, 235] and mask[150, 290] and not mask[135:165, 246:264].any()


def test_which_look_is_believed() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    photo = np.dstack([130 - 10.0 * y / 300] * 3).astype(np.uint8)  # an evenly lit page
    table = np.zeros(SHAPE, bool)
    table[90:110, 80:320] = table[110:230, 90:102] = table[110:230, 298:310] = True
    photo[table] = (190, 180, 160)
    with_page = table.copy()
    with_page[90:230, 90:310] = True

    def whole(roomy: NDArray[np.bool_], close: NDArray[np.bool_]) -> bool:
        return is_the_whole(roomy, close, departure_from_page(photo, roomy | close))

    assert not whole(with_page, table)  # the page between the legs
    assert whole(table, table & (y < 110))  # the legs
    assert whole(table, table & (x < 200))
    assert not whole(table, table)  # the closer look is the sharper one
    assert not whole(np.ones(SHAPE, bool), table)  # nothing was told from anything
    photo[200:, 150:250] = (60, 60, 160)
    cut_off = np.zeros(SHAPE, bool)
    cut_off[200:, 150:250] = True
    assert whole(cut_off, cut_off & (y < 280))


def test_a_white_part_within_the_product_is_no_hole() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    photo = np.full((*SHAPE, 3), 250.0)
    mask = np.hypot(y - 150, x - 200) < 100
    photo[mask] = (40, 90, 170)
    label = np.hypot(y - 150, x - 200) < 50
    photo[label] = (250 - 25 * (1 + np.cos((x - 200) / 50 * 2)) / 2)[label][:, None]  # rounded, so shaded

    def cut() -> NDArray[np.bool_]:
        return without_holes(mask, departure_from_page(photo.round().astype(np.uint8), mask))

    assert cut()[label].mean() > 0.9
    photo[label] = 250
    assert not cut()[150, 200]


def test_what_one_look_finds_and_stands_out_from_a_plain_page_is_product() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    photo = np.dstack([246 - 6.0 * y / 300] * 3).astype(np.uint8)
    chair = np.zeros(SHAPE, bool)
    chair[60:180, 60:310] = chair[180:260, 60:85] = chair[180:260, 285:310] = True
    photo[chair] = (150, 152, 155)
    shadow = (y > 240) & (y < 256) & (x >= 85) & (x < 285)
    photo[shadow] -= 25
    looks = [chair & (x < 285), chair | shadow]  # without the right leg; and with the shadow
    answers = iter(look.astype(np.float32) for look in looks)
    size = round(400 * (1 + 2 * ROOM))

    def network(square: Image) -> NDArray[np.float32]:
        answer, side = next(answers), len(square)
        assert side in (400, size)
        top, left = (side - 300) // 2, (side - 400) // 2
        return np.pad(answer, ((top, side - 300 - top), (left, side - 400 - left)))

    found = find_foreground(photo, network)  # type: ignore[arg-type]  # two answers are all that is asked
    assert iou(found.mask, chair) > 0.98


def test_confidence_by_hand() -> None:
    photo = np.full((100, 100, 3), 255, np.uint8)
    mask = np.zeros((100, 100), bool)
    mask[20:80, 20:80] = True
    photo[mask] = (200, 30, 30)
    sure = mask.astype(np.float32)
    assert confidence(photo, mask, sure) == 1
    assert confidence(photo, mask, 0.8 * sure) == pytest.approx(0.8)
    hollow = photo.copy()
    hollow[20:80, 20:50] = 253
    assert confidence(hollow, mask, sure) == pytest.approx(0.5)
    two = mask.copy()
    two[20:80, 45:55] = False
    two[:, 60:] = False
    assert confidence(photo, two, two.astype(np.float32)) == pytest.approx(25 / 30)
    wide = np.ones_like(mask)
    wide[90:] = False  # 280 of the border's 400 pixels
    assert confidence(photo, wide, wide.astype(np.float32)) < 0.7


def test_a_mask_drawn_by_hand_is_taken(models: SegmentationModels) -> None:
    photo, alpha = shop_photo()
    left = np.zeros(SHAPE, bool)
    left[:, :180] = alpha[:, :180] > 0.5
    cutout = segment(photo, SegmentationParameters(), models, left)
    top, start, bottom, end = bounding_box(cutout.picture[..., 3] >= 128)
    assert (end - start) / (bottom - top) == pytest.approx(60 / 169, abs=0.03)
    assert cutout.confidence == 1
    assert segment(with_alpha(), SegmentationParameters(), models, left).picture.shape == (512, 512, 4)


# A layer's own alpha


def layer(opacity: float = 1.0) -> Image:
    """A red mug alone in its layer."""
    alpha = coverage(mug) * opacity
    return np.dstack([np.full((*SHAPE, 3), (190, 40, 40), np.uint8), (alpha * 255).round().astype(np.uint8)])


def television() -> Image:
    """Cropped tight: nothing is transparent but its rounded corners."""
    screen = np.full((300, 400, 4), (60, 62, 72, 255), np.uint8)
    screen[40:250, 40:310, :3] = (120, 170, 190)
    corners = np.zeros((300, 400), np.uint8)
    cv2.rectangle(corners, (60, 0), (340, 300), 255, -1)
    cv2.rectangle(corners, (0, 60), (400, 240), 255, -1)
    for centre in ((60, 60), (340, 60), (60, 240), (340, 240)):
        cv2.circle(corners, centre, 60, 255, -1)
    screen[..., 3] = corners
    return screen


@pytest.mark.parametrize("maker", ["auto", "alpha"])
def test_a_product_cropped_tight_is_cut_out_by_its_alpha(maker: str, models: SegmentationModels) -> None:
    parameters = SegmentationParameters.model_validate({"maker": maker})
    cutout = segment(television(), parameters, models).picture
    expected = frame(extend_colours(television()), size=512, share=0.8)
    np.testing.assert_array_equal(cutout, expected)


@pytest.mark.parametrize("radius, sure", [(12, 0), (40, 0.7)])
def test_a_photo_with_rounded_corners_is_no_sure_cutout(radius: int, sure: float, models: SegmentationModels) -> None:
    photo, _ = shop_photo()
    corners = np.zeros(SHAPE, np.uint8)
    cv2.rectangle(corners, (radius, radius), (399 - radius, 299 - radius), 255, -1)
    corners = cv2.dilate(corners, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2))
    assert sure_to_cut_out(np.dstack([photo, corners]), models.network) <= sure


def under(layer: Image, colour: int, alpha: NDArray[np.float64]) -> Image:
    """The layer over a veil of one grey with so much alpha."""
    own = layer[..., 3] / 255
    total = own + alpha * (1 - own)
    mixed = (layer[..., :3] * own[..., None] + colour * (alpha * (1 - own))[..., None]) / np.maximum(total, 1e-6)[
        ..., None
    ]
    return np.dstack([mixed, total * 255]).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("darkness, colour", [(0.4, 0), (0.85, 0), (0.6, 255)])
def test_shadows_and_halos_in_the_layer_are_taken_off(darkness: float, colour: int, models: SegmentationModels) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    if colour:
        veil = darkness * cv2.GaussianBlur(coverage(mug), (0, 0), 14)
    else:
        veil = darkness * np.exp(-(((x - 215) / 90) ** 4) - ((y - 250) / 22) ** 4)
    cutout = segment(under(layer(), colour, veil), SegmentationParameters(), models).picture
    plain = segment(layer(), SegmentationParameters(), models).picture
    assert iou(cutout[..., 3] > 127, plain[..., 3] > 127) > 0.98
    assert iou(cutout[..., 3] > 1, plain[..., 3] > 1) > 0.95


def test_glass_stays(models: SegmentationModels) -> None:
    spectacles = np.zeros((300, 600, 4), np.uint8)
    for centre in ((190, 150), (410, 150)):
        cv2.circle(spectacles, centre, 90, (70, 100, 140, 130), -1)
        cv2.circle(spectacles, centre, 90, (20, 20, 25, 255), 12)
    cv2.line(spectacles, (280, 130), (320, 130), (20, 20, 25, 255), 12)
    cutout = segment(spectacles, SegmentationParameters(), models).picture
    np.testing.assert_array_equal(cutout, frame(extend_colours(spectacles), size=512, share=0.8))


@pytest.mark.parametrize("opacity", [0.4, 0.6, 0.8])
def test_a_translucent_layer_is_made_solid(opacity: float, models: SegmentationModels) -> None:
    solid = segment(layer(), SegmentationParameters(), models).picture
    cutout = segment(layer(opacity), SegmentationParameters(), models).picture
    np.testing.assert_allclose(cutout[..., 3], solid[..., 3], atol=4)  # of 255: 0.4 has 102 levels
    assert (at_full_opacity(layer()) == layer()).all()


# The network


def test_the_embedded_network_is_the_one_that_its_card_names() -> None:
    folder = Path(saliency.__file__).with_name("u2netp")
    digest = hashlib.sha256((folder / "u2netp.onnx").read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text(encoding="utf-8")


def test_another_network_is_read_from_a_file(tmp_path: Path, models: SegmentationModels) -> None:
    embedded = Path(saliency.__file__).with_name("u2netp") / "u2netp.onnx"
    photo, _ = shop_photo()
    for name in ("u2net.onnx", "isnet-general-use.onnx"):
        shutil.copy(embedded, tmp_path / name)
    same = load_segmentation_models(SegmentationParameters(network=tmp_path / "u2net.onnx")).network
    np.testing.assert_array_equal(same(photo), models.network(photo))
    other = load_segmentation_models(SegmentationParameters(network=tmp_path / "isnet-general-use.onnx"))
    assert (other.network(photo) != models.network(photo)).any()  # it wants pixels in another range


class Answering:
    """Stands for onnxruntime's session: a picture of 4 x 6 pixels, and one answer."""

    def __init__(self, answer: NDArray[np.float32]) -> None:
        self._answer = answer

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="in", shape=[1, 3, 4, 6])]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="out", shape=[1, 1, 4, 6])]

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        assert outputs == ["out"] and inputs["in"].shape == (1, 3, 4, 6)
        return [self._answer]


def test_log_odds_are_turned_into_chances() -> None:
    photo = np.zeros((8, 12, 3), np.uint8)
    for answer, chance in ((0.25, 0.25), (-np.log(3), 0.25), (4.0, 1 / (1 + np.exp(-4)))):
        network = SaliencyNetwork(Answering(np.full((1, 1, 4, 6), answer, np.float32)), IMAGENET)
        np.testing.assert_allclose(network(photo), chance, atol=1e-6)


@pytest.mark.parametrize("content, words", [(None, "missing"), (b"no network", "cannot be opened")])
def test_a_network_that_cannot_be_had_is_a_setup_error(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "u2net.onnx"
    if content:
        path.write_bytes(content)
    with pytest.raises(SetupError, match=words):
        load_segmentation_models(SegmentationParameters(network=path))


# Segment Anything


def tiny_sam() -> torch.nn.Module:
    """Segment Anything's own modules, at a size for tests."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    return Sam(
        image_encoder=ImageEncoderViT(img_size=64, patch_size=16, embed_dim=32, depth=1, num_heads=2, out_chans=32),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=1, embedding_dim=32, num_heads=2, mlp_dim=32),
            num_multimask_outputs=3,
        ),
    )


@pytest.fixture
def sam_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import segment_anything

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", tiny_sam)
    torch.manual_seed(0)
    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    return tmp_path / "sam.pth"


def test_sam_loads_its_checkpoint_and_proposes_masks(sam_checkpoint: Path) -> None:
    sam = load_sam(SamParameters(checkpoint=sam_checkpoint, model_type="vit_b"))
    saved = torch.load(sam_checkpoint, weights_only=True)
    for name, value in sam.model.state_dict().items():
        torch.testing.assert_close(value, saved[name])
    photo, alpha = shop_photo()
    sam.set_image(photo)
    for prompt in prompts_from(alpha > 0.5):
        masks, scores, _ = sam.predict(**prompt, multimask_output=True)
        assert masks.shape == (3, *SHAPE) and scores.shape == (3,)


@pytest.mark.parametrize("wrong", ["missing", "other"])
def test_sam_without_its_weights_is_a_setup_error(wrong: str, tmp_path: Path, sam_checkpoint: Path) -> None:
    checkpoint = tmp_path / "nowhere.pth"
    if wrong == "other":
        torch.save({"weight": torch.zeros(3)}, checkpoint)
    parameters = SegmentationParameters(maker="sam", sam=SamParameters(checkpoint=checkpoint, model_type="vit_b"))
    with pytest.raises(SetupError, match="missing" if wrong == "missing" else "model_type"):
        load_segmentation_models(parameters)


def test_sam_needs_its_parameters() -> None:
    with pytest.raises(SetupError, match="checkpoint"):
        load_segmentation_models(SegmentationParameters(maker="sam"))


class ScriptedSam:
    """Stands for a predictor: proposes the masks it was given, and notes its prompts."""

    def __init__(self, proposals: list[tuple[NDArray[np.bool_], float]]) -> None:
        self.masks = np.stack([mask for mask, _ in proposals])
        self.scores = np.array([score for _, score in proposals])
        self.prompts: list[set[str]] = []

    def set_image(self, image: Image) -> None:
        assert image.dtype == np.uint8 and image.shape[2] == 3

    def predict(
        self, *, multimask_output: bool, **prompt: object
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], None]:
        assert multimask_output
        self.prompts.append(set(prompt))
        return self.masks, self.scores, None


def test_the_best_mask_is_chosen_by_score_and_sense(models: SegmentationModels) -> None:
    photo, alpha = shop_photo()
    product = alpha > 0.5
    everything, nothing, band = np.ones(SHAPE, bool), np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    band[120:140] = product[120:140]
    sam = ScriptedSam([(everything, 1.0), (nothing, 1.0), (band, 0.95), (product, 0.9)])
    sam_models = SegmentationModels(models.network, models.elevation, sam)
    parameters = SegmentationParameters(maker="sam")
    chosen = find_foreground_with_sam(photo, sam, find_foreground(photo, models.network).mask)
    np.testing.assert_array_equal(chosen, product)
    assert {"box"} in sam.prompts and {"point_coords", "point_labels"} in sam.prompts
    by_sam = segment(photo, parameters, sam_models).picture
    named = SamParameters(checkpoint=Path("sam.pth"), model_type="vit_b")
    by_auto = segment(photo, SegmentationParameters(sam=named), sam_models).picture
    np.testing.assert_array_equal(by_auto, by_sam)
    by_default = segment(photo, SegmentationParameters(), models).picture
    assert iou(by_sam[..., 3] > 127, by_default[..., 3] > 127) > 0.95

    with pytest.raises(ProductError, match="No product"):
        find_foreground_with_sam(photo, ScriptedSam([(everything, 1.0), (nothing, 1.0)]), product)


def test_prompts_lie_where_they_should() -> None:
    mask = np.zeros((50, 80), bool)
    mask[10:40, 5:75] = True
    mask[0, 0] = True  # then the corner says nothing
    for prompt in prompts_from(mask):
        if "box" in prompt:
            assert prompt["box"].tolist() == [0, 0, 75, 40]
        if "point_coords" in prompt:
            for (x, y), label in zip(prompt["point_coords"].astype(int), prompt["point_labels"], strict=True):
                assert mask[y, x] == bool(label)
            inside = prompt["point_coords"][prompt["point_labels"] == 1]
            assert len(inside) == 3 and len({tuple(point) for point in inside}) == 3


def test_sense_is_agreement_less_contact_with_the_border() -> None:
    estimate = np.zeros((10, 10), bool)
    estimate[3:7, 3:7] = True
    assert sense(estimate, estimate) == 1
    touching = np.zeros((10, 10), bool)
    touching[:7, 3:7] = True
    # 16 of 28 pixels agree; 4 of the 40 border pixels (corners count twice) are touched.
    assert sense(touching, estimate) == pytest.approx(16 / 28 - 4 / 40)
    assert sense(~estimate, estimate) == -np.inf


def test_parameters_refuse_nonsense() -> None:
    for wrong in ({"maker": "magic"}, {"size": 0}, {"long_side": 1.2}, {"sized": 512}):
        with pytest.raises(ValidationError):
            SegmentationParameters.model_validate(wrong)
