"""What the priors learn from: products photographed once from the front and then from all round."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.families import HELD_OUT_FAMILY, TRAINED_FAMILIES
from mpod_pipeline.synthesis.models import read_model
from mpod_pipeline.synthesis.product import Subject, fits, make_product, place
from mpod_pipeline.synthesis.recipes import recipes
from mpod_pipeline.synthesis.solids import Array
from mpod_pipeline.synthesis.studio import Light, Scene, ambient_occlusion

T = TypeVar("T")
R = TypeVar("R")

#: Products of a split have seeds from here on; no seed is in two splits.
SPLIT_SEEDS = {"train": 0, "validation": 1_000_000, "test": 2_000_000, "samples": 3_000_000}
PHOTO_ELEVATION = (0.0, 20.0)
PHOTO_YAW = (-10.0, 10.0)
VIEW_ELEVATION = (-10.0, 60.0)
#: Compounds count as much as this many families.
COMPOUND_SHARE = 3
#: In training, where they teach shape as such, the nameless are three in five: as many families each.
TRAIN_SHARES = {"compound": 18, "assembly": 15}


@dataclass(frozen=True)
class ProductViews:
    """One product: view 0 is the photo (azimuth 0), the others are spread all round it.

    family, seed: of a model, its name and the number of the shot.
    """

    family: str
    seed: int
    caption: str
    pictures: NDArray[np.uint8]  # [V, H, W, 4], straight alpha
    azimuth_deg: NDArray[np.float32]  # [V]
    elevation_deg: NDArray[np.float32]  # [V]


def split_members(split: str, count: int, more_kinds: bool = False) -> list[tuple[str, int]]:
    """The first ``count`` (family, seed) of a split, families in turn; the held-out family only outside training.

    more_kinds: those of `recipes`, too. Without them the members are those of the shipped priors' training.
    """
    turn = list(TRAINED_FAMILIES)
    if more_kinds:
        turn += recipes()
    if split == "train":
        turn += [family for family, share in TRAIN_SHARES.items() for _ in range(share)]
    else:
        turn += ["compound"] * COMPOUND_SHARE + [HELD_OUT_FAMILY]
    return [(turn[i % len(turn)], SPLIT_SEEDS[split] + i) for i in range(count)]


def members_of(split: str, families: Sequence[str], count: int) -> list[tuple[str, int]]:
    """The first ``count`` (family, seed) of a split that are of these families."""
    many = split_members(split, 40 * count + 100)
    return list(islice((member for member in many if member[0] in families), count))


def one_of_each_family(split: str, count: int) -> list[tuple[str, int]]:
    """Products of a split, each of another family; the second is of the held-out one."""
    first, *others = [*TRAINED_FAMILIES[::2], *TRAINED_FAMILIES[1::2]]
    turn = [first, HELD_OUT_FAMILY, *others]
    return [members_of(split, [family], 1)[0] for family in turn[:count]]


def scene_of(family: str, seed: int) -> tuple[Scene, float]:
    """A product of a split in its studio, and the elevation of its photo in degrees."""
    product = make_product(family, seed)
    return _stand(product, ambient_occlusion(product), np.random.default_rng([seed, 17]))


def _stand(subject: Subject, occlusion: Array, rng: np.random.Generator) -> tuple[Scene, float]:
    """The subject turned a little, in a studio of its own; and the elevation of its photo."""
    elevation = float(rng.uniform(*PHOTO_ELEVATION))
    placement = place(subject, float(rng.uniform(*PHOTO_YAW)), elevation)
    return Scene(subject, placement, Light.drawn(rng), occlusion), elevation


def photograph_product(family: str, seed: int, views: int, resolution: int) -> ProductViews:
    """The photo and ``views - 1`` pictures from random places all round."""
    scene, elevation = scene_of(family, seed)
    rng = np.random.default_rng([seed, 23])
    return ProductViews(family, seed, scene.product.caption, *_all_round(scene, elevation, rng, views, resolution))


def _all_round(
    scene: Scene, photo_elevation: float, rng: np.random.Generator, views: int, resolution: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Pictures, azimuths and elevations, of which the first is the photo's."""
    spread = (np.arange(views - 1) + rng.uniform(0, 1, views - 1)) * 360 / max(views - 1, 1) - 180  # stratified
    azimuth = np.concatenate([[0.0], spread]).astype(np.float32)
    elevation = np.concatenate([[photo_elevation], rng.uniform(*VIEW_ELEVATION, views - 1)]).astype(np.float32)
    cameras = Cameras.at(azimuth.tolist(), elevation.tolist())
    return scene.photograph(cameras, resolution), azimuth, elevation


class ModelSource(Protocol):
    """A GLB and what is said of it; a call reads it, or raises ProductError. front, up: see `read_model`."""

    @property
    def name(self) -> str: ...

    @property
    def caption(self) -> str: ...

    @property
    def front(self) -> str: ...

    @property
    def up(self) -> str: ...

    def __call__(self) -> bytes: ...


def photograph_model(model: ModelSource, shots: int, views: int, resolution: int) -> list[ProductViews]:
    """A model as `photograph_product` photographs products, in so many studios.

    Raises ProductError for a model that cannot be read, or is much wider from another side than from its front.
    """
    subject = read_model(model(), model.caption, model.front, model.up)
    if not fits(subject):
        raise ProductError(
            "Its photo would be of a narrow side: from others it reaches out of the picture. Say another front."
        )
    occlusion = ambient_occlusion(subject)
    made = []
    for shot in range(shots):
        key = zlib.crc32(model.name.encode(errors="surrogateescape")), shot
        scene, elevation = _stand(subject, occlusion, np.random.default_rng([*key, 17]))
        taken = _all_round(scene, elevation, np.random.default_rng([*key, 23]), views, resolution)
        made.append(ProductViews(model.name, shot, model.caption, *taken))
    return made


def photograph_many(
    members: Sequence[tuple[str, int]], views: int, resolution: int, workers: int
) -> Iterator[ProductViews]:
    """``photograph_product`` for many, in order, on several processes."""
    yield from by_several(partial(_product_views, views, resolution), members, workers, 8)


def photograph_models(
    models: Sequence[ModelSource], shots: int, views: int, resolution: int, workers: int
) -> Iterator[list[ProductViews] | ProductError]:
    """``photograph_model`` for many, in order, on several processes; of those that cannot be, why."""
    yield from by_several(partial(_model_views, shots, views, resolution), models, workers, 1)


def _product_views(views: int, resolution: int, member: tuple[str, int]) -> ProductViews:
    return photograph_product(*member, views, resolution)


def _model_views(shots: int, views: int, resolution: int, model: ModelSource) -> list[ProductViews] | ProductError:
    try:
        return photograph_model(model, shots, views, resolution)
    except ProductError as error:
        return error


def by_several(work: Callable[[T], R], things: Sequence[T], workers: int, chunk: int) -> Iterator[R]:
    """``work`` of many things, in order, on several processes, which take so many at a time."""
    if workers <= 1:
        yield from map(work, things)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, things, chunksize=chunk)
