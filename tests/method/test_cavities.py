"""Where the prior's views from above say that something is hollow."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.method.cavities import (
    CELLS,
    Cavities,
    CavityParameters,
    base_of,
    deepened,
    depth_network,
    emptiness,
    find_cavities,
    inside_colour,
    of_vessels,
    seen_through,
    transparency,
    widened,
    without_dents,
)
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.method.outline import optimize_outline
from mpod_pipeline.metrics.shape import solid
from mpod_pipeline.priors import NovelViewPrior
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize
from mpod_pipeline.synthesis.solids import lathe
from tests.geometry.shapes import box, cup, mesh_of, moved
from tests.method.conftest import SMALL_FIELD
from tests.method.quick import QUICK_OUTLINE

FROM_ABOVE = Cameras.at(torch.arange(10) * 36.0, 58.0)


def depths(mesh: Mesh) -> torch.Tensor:
    return rasterize(mesh.vertices, mesh.faces, mesh.vertices, FROM_ABOVE, 64).depth


def test_a_cup_is_empty_and_its_wall_is_not() -> None:
    """Outer radius 0.5, wall 0.06, from -0.5 up to 0.5, its floor at -0.3."""
    seen = depths(moved(cup(0.2, radius=0.5), 0, 0, -0.5))
    points = torch.tensor(
        [[0, 0, 0.4], [0, 0, 0.0], [0.3, 0, 0.2], [0.47, 0, 0.2], [0, 0, -0.4], [0.7, 0, 0.0], [0, 0, 2]]
    )
    found = seen_through(points, seen, seen > 0, FROM_ABOVE, CavityParameters()).empty
    # What is beside or far above it, silhouettes tell.
    assert found.tolist() == [True, True, True, False, False, False, False]


def test_a_box_is_nowhere_empty() -> None:
    seen = depths(box(0.8, 0.8, 0.8))
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 0.8 - 0.4
    assert not seen_through(points, seen, seen > 0, FROM_ABOVE, CavityParameters()).empty.any()


def test_one_view_that_errs_is_outvoted() -> None:
    seen = depths(box(0.8, 0.8, 0.8))
    seen[3] += 0.5
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 0.8 - 0.4
    assert not seen_through(points, seen, seen > 0, FROM_ABOVE, CavityParameters()).empty.any()


def test_thin_layers_and_crumbs_are_dents() -> None:
    cells = torch.zeros(12, 12, 12, dtype=torch.bool)
    cells[1:3, 1:11, 1:11] = True
    cells[4:8, 4:9, 4:9] = True
    cells[9:12, :3, :3] = True
    kept = without_dents(cells)
    assert kept[4:8, 4:9, 4:9].all() and int(kept.sum()) == 100


def test_a_hole_goes_on_as_far_as_something_is_seen() -> None:
    empty, stops = torch.zeros(2, 3, 3, 8, dtype=torch.bool)
    empty[1, 1, 5:7] = True
    stops[1, 1, 2] = True
    assert deepened(empty, stops)[1, 1].tolist() == [False, False, False, True, True, True, True, False]
    assert not deepened(empty, stops)[0].any()


def test_a_narrow_deep_hole_is_found_to_be_deep() -> None:
    """From 58 degrees above its floor is out of sight."""
    vase = moved(cup(0.1, radius=0.3, wall=0.08, height=1.2), 0, 0, -0.6)
    seen = depths(vase)
    assert -0.6 < base_of(seen, seen > 0, FROM_ABOVE) < -0.5
    z = torch.linspace(-0.55, 0.55, 23)
    down = torch.stack([torch.zeros(23), torch.zeros(23), z], dim=-1)
    told = seen_through(down, seen, seen > 0, FROM_ABOVE, CavityParameters())
    found = z[deepened(told.empty.view(1, 1, -1), (told.full.view(1, 1, -1) >= 2) | (z < -0.48))[0, 0]]
    assert float(z[told.empty].min()) > 0.1 and float(found.min()) == pytest.approx(-0.45, abs=0.06)


class SeesMesh:
    """A novel-view prior whose views show a mesh, the redder the higher, with a depth network that measures it."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    def sample(
        self, photo: object, azimuth_deg: torch.Tensor, elevation_deg: torch.Tensor, **_: object
    ) -> torch.Tensor:
        red = (self.mesh.vertices[:, 2:] + 1) / 2 * torch.tensor([1.0, 0.0, 0.0])
        cameras = Cameras.at(azimuth_deg, elevation_deg)
        attributes = torch.cat([red, self.mesh.vertices], dim=1)
        raster = rasterize(self.mesh.vertices, self.mesh.faces, attributes, cameras, 64)
        self.distance = raster.depth
        return raster.attributes[..., :3].permute(0, 3, 1, 2)

    def depth(self, pictures: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.distance, torch.where(self.distance > 0, 1.0, -1.0)


def found_in(mesh: Mesh) -> Cavities:
    return find_cavities(torch.empty(0), SeesMesh(mesh), 10.0, 1.0, CavityParameters(), 0)  # type: ignore[arg-type]


def test_a_cavity_ends_where_views_from_the_side_see_nothing() -> None:
    """The air over a wide rim is within all silhouettes from above."""
    outside = [(0, -0.6), (0.35, -0.6), (0.35, -0.4), (0.22, -0.2), (0.75, 0.3)]
    inside = [(0.65, 0.3), (0.12, -0.2), (0.12, -0.45), (0, -0.45)]
    funnel = mesh_of(lathe([*outside, *inside], 0, segments=96))
    found = found_in(funnel)
    cells = found.empty
    assert not solid(funnel, cells.numpy()).any()
    radius, z = cells[:, :2].norm(dim=1), cells[:, 2]
    assert bool((radius < 0.22 + (z + 0.2).clamp_min(0) * 0.53 / 0.5).all())
    assert float(z.min()) < 0 and float(radius.max()) > 0.5
    assert float(z.max()) == pytest.approx(0.3, abs=3 / CELLS)
    # what is seen in it lies on the cone inside, which is this far from the axis, and looks like it
    radius, z = found.inside[:, :2].norm(dim=1), found.inside[:, 2]
    assert len(z) > 1000 and float((radius - (0.12 + (z + 0.2) * 0.53 / 0.5)).abs().quantile(0.99)) < 0.06
    assert torch.allclose(found.colours[:, 0], (z + 1) / 2, atol=0.03)


def test_the_air_over_a_seat_is_left_to_silhouettes() -> None:
    parts = [moved(box(1.0, 1.0, 0.3), 0, 0, -0.35), moved(box(1.0, 0.15, 1.0), 0, -0.425, 0.0)]
    bench = Mesh(torch.cat([part.vertices for part in parts]), torch.cat([parts[0].faces, parts[1].faces + 8]))
    found = found_in(bench)
    assert len(found.empty) == 0 and len(found.walls) == 0


def test_a_cavity_with_walls_all_round_is_a_vessel_s() -> None:
    hull = torch.zeros(12, 12, 12, dtype=torch.bool)
    hull[1:11, 1:11, 1:11] = True
    cup, notch = torch.zeros(2, 12, 12, 12, dtype=torch.bool)
    cup[3:6, 3:6, 3:11] = True
    notch[8:11, 3:6, 3:11] = True  # open to a side
    assert torch.equal(of_vessels(cup | notch, hull), cup)
    assert not of_vessels(torch.zeros_like(cup), hull).any()


def test_a_cavity_is_widened_level_by_level() -> None:
    one = torch.zeros(5, 5, 5, dtype=torch.bool)
    one[2, 2, 2] = True
    wide = widened(one)
    assert int(wide.sum()) == 5 and wide[1:4, 2, 2].all() and wide[2, 1:4, 2].all()


def test_the_rest_of_a_lid_weighs_as_much_as_a_plug() -> None:
    """The blob is dense in the middle and nothing in the corners."""
    field = OutlineField(SMALL_FIELD)
    plug, nothing = torch.zeros(1, 3), torch.full((9, 3), 0.95)
    whole, rest = (
        float(emptiness(field, cells, torch.Generator().manual_seed(0)).detach())
        for cells in (plug, torch.cat([plug, nothing]))
    )
    assert whole > 1 and rest == pytest.approx(whole, rel=0.05)


def test_walls_are_missed_where_they_are_thin() -> None:
    field = OutlineField(SMALL_FIELD)
    inside, outside = (
        float(transparency(field, torch.full((1, 3), at), torch.Generator().manual_seed(0)).detach())
        for at in (0.0, 0.95)
    )
    assert outside == pytest.approx(np.log(31), abs=0.1)
    assert inside == pytest.approx(np.log(31 / 11), abs=0.3)  # the blob has a density of 10 there


def test_the_inside_is_coloured_as_it_was_seen() -> None:
    field = OutlineField(SMALL_FIELD)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 0.2
    own = field.colour(points).detach()
    seen = replace(Cavities.none(), inside=points, colours=own + torch.tensor([0.3, 0.0, 0.0]))
    loss = inside_colour(field, seen, torch.Generator().manual_seed(1))
    assert float(loss.detach()) == pytest.approx(0.3**2 / 3, rel=0.1)
    loss.backward()
    assert any(p.grad is not None and bool((p.grad != 0).any()) for p in field.parameters())


def test_a_prior_without_a_depth_network_is_refused(novel_view: NovelViewPrior) -> None:
    assert depth_network(novel_view) is novel_view.depth
    with pytest.raises(SetupError, match=r"outline\.cavities"):
        depth_network(SimpleNamespace(depth=None))  # type: ignore[arg-type]


def test_the_prior_is_asked_and_its_answer_is_the_same_again(
    cutout: NDArray[np.uint8], novel_view: NovelViewPrior
) -> None:
    photo = reference_view(cutout, novel_view.image_size).picture
    p = CavityParameters(views=3, steps=2)
    one, other = (find_cavities(photo, novel_view, 10.0, 1.0, p, 5) for _ in range(2))
    assert torch.equal(one.empty, other.empty) and torch.equal(one.walls, other.walls)
    assert bool((torch.cat([one.empty, one.walls]).abs() <= 1 - 1 / CELLS).all())


def test_what_is_empty_is_carved(cutouts: Cutouts, novel_view: NovelViewPrior, monkeypatch: pytest.MonkeyPatch) -> None:
    hole = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 0.3 - 0.15
    p = QUICK_OUTLINE.model_copy(update={"steps": 120, "resolutions": (12,), "cavities": CavityParameters()})
    densities = {}
    for name, cells in (("solid", torch.zeros(0, 3)), ("hollow", hole)):
        monkeypatch.setattr(
            "mpod_pipeline.method.outline.find_cavities", lambda *_, cells=cells: replace(Cavities.none(), empty=cells)
        )
        losses: list[dict[str, float]] = []
        field = optimize_outline(cutouts, novel_view, p, 0, lambda s, n, v: losses.append(v)).field  # noqa: B023
        densities[name] = float(field.density(hole).mean())
        assert ("emptiness" in losses[0]) == (name == "hollow")
    assert densities["hollow"] < 0.2 * densities["solid"], densities
