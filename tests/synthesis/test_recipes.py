"""The table of kinds: nothing in it is misspelt, and every product of it is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mpod_pipeline.geometry.mesh import Mesh, is_watertight
from mpod_pipeline.synthesis.families import FAMILIES, HELD_OUT_FAMILY
from mpod_pipeline.synthesis.materials import PALETTE
from mpod_pipeline.synthesis.product import make_product
from mpod_pipeline.synthesis.recipes import SHAPES, recipes
from mpod_pipeline.synthesis.solids import rounded_box, signed_volume
from mpod_pipeline.synthesis.views import split_members

OF_A_PART = {
    "parts": set(),
    "one_of": set(),
    "column": {"exponent", "smooth", "wall"},
    "box": {"radius"},
    "ball": {"exponent"},
    "path": {"thick"},
    "arc": {"thick", "flat"},
}
PLACED = {"material", "turn", "at", "mirror", "copies", "chance"}
OF_A_MATERIAL = {"pattern", "label", "labelled", "named", "as", "share", "colours", "gloss"}


def parts_in(listed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for said in listed:
        yield said
        yield from parts_in(said.get("parts", []))
        for chosen in said.get("one_of", []):
            assert set(chosen) <= {"noun", "parts"}
            yield from parts_in(chosen["parts"])


@pytest.mark.parametrize("kind", recipes())
def test_nothing_in_the_table_is_misspelt(kind: str) -> None:
    recipe = recipes()[kind]
    assert set(recipe) <= {"noun", "draw", "stretch", "materials", "parts"}
    for material in recipe["materials"].values():
        assert set(material or {}) <= OF_A_MATERIAL
        assert {*(material or {}).get("colours", []), *(material or {}).get("named", [])} <= set(PALETTE)
    for said in parts_in(recipe["parts"]):
        (shape,) = set(said) & set(OF_A_PART)
        assert set(said) - {shape} <= OF_A_PART[shape] | PLACED
        assert said.get("material", "main") in recipe["materials"]
    assert set(SHAPES) <= set(OF_A_PART)


@pytest.mark.parametrize("kind", recipes())
def test_every_part_is_closed_and_outward(kind: str) -> None:
    captions = set()
    for seed in (5, 6, 7):
        product = make_product(kind, seed)
        captions.add(product.caption)
        for part in range(len(product.part_materials)):
            faces = product.faces[product.face_part == part]
            used, local = np.unique(faces, return_inverse=True)
            vertices = torch.from_numpy(product.vertices[used])
            assert is_watertight(Mesh(vertices, torch.from_numpy(local.reshape(faces.shape))))
            assert signed_volume(product.vertices, faces) > 0
    assert len(captions) > 1


def test_the_table_has_twenty_kinds_that_families_lacks() -> None:
    assert len(recipes()) == 20
    assert not set(recipes()) & set(FAMILIES)


def test_more_kinds_join_a_split_only_where_asked_for() -> None:
    few, more = (split_members("train", 750, more_kinds=asked) for asked in (False, True))
    assert {family for family, _ in few} < {family for family, _ in more}
    assert {family for family, _ in more} - {family for family, _ in few} == set(recipes())
    assert HELD_OUT_FAMILY not in {family for family, _ in more}


def test_a_mirrored_part_is_still_outward() -> None:
    part = rounded_box((0.2, 0.3, 0.4), 0).moved((0, 1, 0))
    twin = part.mirrored(1)
    assert signed_volume(twin.vertices, twin.faces) == pytest.approx(signed_volume(part.vertices, part.faces))
    assert twin.vertices[:, 1].mean() == pytest.approx(-1)
