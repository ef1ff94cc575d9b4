"""Products out of a table: `recipes.yml` says of a kind what it is made of, and this puts it together.

A kind has a ``noun``, ``materials`` by name, ``parts``, and may have ``stretch`` (factors for all of it) and ``draw``
(numbers by name). A number is one, or ``a..b``, drawn anew wherever it stands, or the name of one that was drawn once.

Parts are one shape each, of a ``material``, in product units, standing on z = 0:

- ``column: [[r, z] or [rx, ry, z], ...]``: closed rings from below; ``exponent`` (2 a circle, more towards a square),
  ``smooth``, ``wall`` (makes it hollow);
- ``box: [x, y, z]``, ``radius`` of its edges; ``ball: [rx, ry, rz]``, ``exponent``;
- ``path: [[x, y, z], ...]``: a smooth tube, ``thick``; ``arc: [plane, r1, r2, from, to]``: one along an ellipse,
  degrees.

What may be said of any part, or of several under ``parts``, in the order in which it is done: ``turn: {axis:
degrees}``; ``at: [x, y, z]``; ``mirror: axis``, a twin beside it; ``copies: [count, x, y, z]``, each so far from the
last; and ``chance``, whether it is there at all. Of ``one_of`` one is drawn, which may have a ``noun`` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mpod_pipeline.synthesis.draft import CLOTH, FLAT, ROUND, Draft
from mpod_pipeline.synthesis.solids import (
    Array,
    Part,
    arc,
    ellipsoid,
    loft,
    rounded_box,
    smooth_profile,
    superellipse,
    tube,
)

PATTERNS = {"round": ROUND, "flat": FLAT, "cloth": CLOTH}
AXES = "xyz"
SEGMENTS = 48

Recipe = Mapping[str, Any]


@cache
def recipes() -> dict[str, Recipe]:
    """The table, by kind."""
    return yaml.safe_load(Path(__file__).with_suffix(".yml").read_text("utf-8"))


def make(kind: str, d: Draft) -> str:
    """Put a product of this kind together; its noun."""
    recipe = recipes()[kind]
    return _Maker(d, recipe).make(recipe)


class _Maker:
    """One product being made after a recipe."""

    def __init__(self, d: Draft, recipe: Recipe) -> None:
        self._d = d
        self._noun = str(recipe["noun"])
        self._drawn: dict[str, float] = {}
        for name, value in recipe.get("draw", {}).items():
            self._drawn[name] = self._number(value)
        self._materials: dict[str, int] = {}
        for name, said in recipe["materials"].items():
            self._materials[name] = self._material(said or {})

    def make(self, recipe: Recipe) -> str:
        stretch = recipe.get("stretch", {})
        xy = self._number(stretch.get("xy", 1))
        factors = [xy * self._number(stretch.get("x", 1)), xy * self._number(stretch.get("y", 1))]
        factors.append(self._number(stretch.get("z", 1)))
        self._d.add(*(part.scaled(factors) for part in self._all(recipe["parts"])))
        return self._noun

    def _number(self, value: Any) -> float:
        if not isinstance(value, str):
            return float(value)
        if value in self._drawn:
            return self._drawn[value]
        low, high = value.split("..")
        return self._d.uniform(float(low), float(high))

    def _numbers(self, values: Sequence[Any]) -> list[float]:
        return [self._number(value) for value in values]

    def _material(self, said: Mapping[str, Any]) -> int:
        """``pattern`` (round, flat or cloth) and ``named`` (colours) are what the caption says; else it is one of
        ``colours``, or the material ``as``.
        """
        d, gloss = self._d, float(said.get("gloss", 0.1))
        if "pattern" in said:
            index = d.main_material(PATTERNS[said["pattern"]], round=said["pattern"] == "round", gloss=gloss)
            if "label" in said and d.chance(said.get("labelled", 1)):
                d.words.append("labelled")
                y, z, width, height = self._numbers(said["label"])
                d.label(index, (y, z), (width, height))
            return index
        if "named" in said:
            d.words.append(str(d.rng.choice(said["named"])))
            return d.material(d.words[-1], gloss=gloss)
        if "as" in said and d.chance(said.get("share", 1)):
            return self._materials[said["as"]]
        colours = said.get("colours")
        return d.material(str(d.rng.choice(colours)) if colours else None, gloss=gloss)

    def _all(self, listed: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
        for said in listed:
            if self._d.chance(said.get("chance", 1)):
                yield from self._placed(list(self._made(said)), said)

    def _made(self, said: Mapping[str, Any]) -> Iterator[Part]:
        if "one_of" in said:
            chosen = said["one_of"][int(self._d.rng.integers(len(said["one_of"])))]
            self._noun = chosen.get("noun", self._noun)
            yield from self._all(chosen["parts"])
        elif "parts" in said:
            yield from self._all(said["parts"])
        else:
            shape = next(name for name in SHAPES if name in said)
            yield SHAPES[shape](self, said, self._materials[said.get("material", "main")])

    def _placed(self, parts: list[Part], said: Mapping[str, Any]) -> list[Part]:
        for axis, degrees in said.get("turn", {}).items():
            angle = self._number(degrees)
            parts = [part.turned(angle, AXES.index(axis)) for part in parts]
        offset = self._numbers(said.get("at", [0, 0, 0]))
        parts = [part.moved(offset) for part in parts]
        if "mirror" in said:
            parts += [part.mirrored(AXES.index(said["mirror"])) for part in parts]
        if "copies" in said:
            count, *step = self._numbers(said["copies"])
            parts = [part.moved(np.multiply(i, step)) for i in range(round(count)) for part in parts]
        return parts

    def _column(self, said: Mapping[str, Any], material: int) -> Part:
        points = [self._numbers(ring) for ring in said["column"]]
        rings = np.array([[ring[0], *ring] if len(ring) == 2 else ring for ring in points])
        rings = smooth_profile(rings, 28) if said.get("smooth") else _between(rings, 3)
        if "wall" in said:
            rings = _hollow(rings, self._number(said["wall"]))
        flat = superellipse(SEGMENTS, self._number(said.get("exponent", 2)))
        return loft([_ring(flat * np.maximum(ring[:2], 1e-3), ring[2]) for ring in rings], material)

    def _box(self, said: Mapping[str, Any], material: int) -> Part:
        return rounded_box(self._numbers(said["box"]), material, self._number(said.get("radius", 0.02)))

    def _ball(self, said: Mapping[str, Any], material: int) -> Part:
        return ellipsoid(self._numbers(said["ball"]), material, self._number(said.get("exponent", 2)))

    def _path(self, said: Mapping[str, Any], material: int) -> Part:
        points = [self._numbers(point) for point in said["path"]]
        return tube(smooth_profile(points, 20), self._number(said["thick"]), material)

    def _arc(self, said: Mapping[str, Any], material: int) -> Part:
        plane, *numbers = said["arc"]
        r1, r2, start, end = self._numbers(numbers)
        path = arc((0, 0, 0), (r1, r2), start, end, plane, 28)
        return tube(path, self._number(said["thick"]), material, flat=self._number(said.get("flat", 1)))


SHAPES: dict[str, Callable[[_Maker, Mapping[str, Any], int], Part]] = {
    "column": _Maker._column,
    "box": _Maker._box,
    "ball": _Maker._ball,
    "path": _Maker._path,
    "arc": _Maker._arc,
}


def _ring(flat: Array, z: float) -> Array:
    return np.concatenate([flat, np.full((len(flat), 1), z)], -1)


def _between(rings: Array, times: int) -> Array:
    """Rings [N, 3] with more between them, so that light falls off along straight sides, too."""
    t = np.linspace(0, len(rings) - 1, (len(rings) - 1) * times + 1)
    return np.stack([np.interp(t, np.arange(len(rings)), rings[:, k]) for k in range(3)], -1)


def _hollow(rings: Array, wall: float) -> Array:
    """Rings [N, 3] that go back down inside, to a floor as thick as the wall."""
    inside = rings[rings[:, 2] > rings[0, 2] + wall][::-1] - [wall, wall, 0]
    floor = [[0, 0, inside[-1, 2]]]
    return np.concatenate([[[0, 0, rings[0, 2]]], rings, inside, floor])
