"""Families of procedural products: what shops sell, drawn from a seed.

Each maker draws proportions, materials and asymmetries, stands the product upright with the side that shops photograph
towards +x (a shoe's outer side, a chair's front), and says in words what it made.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpod_pipeline.synthesis.draft import CLOTH, FLAT, ROUND, Draft
from mpod_pipeline.synthesis.solids import (
    Array,
    Part,
    arc,
    cylinder,
    ellipsoid,
    extrude,
    lathe,
    loft,
    rounded_box,
    smooth_profile,
    superellipse,
    tube,
)

# ---------------------------------------------------------------------------------------------------------- footwear


def _foot_outline(length: float, width: float, slim: float, m: int = 48) -> Array:
    """A sole's outline [m, 2] (x across, y along; toe at +y)."""
    t = np.linspace(0, 2 * np.pi, m, endpoint=False)
    along = np.sin(t)
    across = np.cos(t) * (0.82 + 0.18 * np.sin((along + 0.35) * 2.2) * slim)
    return np.stack([across * width / 2, along * length / 2], -1).astype(np.float32)


def _upper(length: float, width: float, sole: float, heights: list[tuple[float, float]], material: int) -> Part:
    """A shoe's upper: sections along y; heights are (position 0 heel..1 toe, height)."""
    positions = np.linspace(0.015, 0.985, 26)
    height = smooth_profile(heights, 80)
    h = np.interp(positions, height[:, 0], height[:, 1])
    y = (positions - 0.5) * length
    half = width / 2 * np.sqrt(np.clip(1 - (2 * positions - 1) ** 4, 0.03, 1)) * (0.86 + 0.12 * positions)
    outline = superellipse(28, 2.4)
    rings = []
    for yy, hh, ww in zip(y, h, half, strict=True):
        taper = np.where(outline[:, 1] > 0, 1 - 0.38 * outline[:, 1] * min(1.0, hh / 0.3), 1.0)
        x = outline[:, 0] * ww * taper
        z = sole * 0.6 + (outline[:, 1] * 0.5 + 0.5) * (hh - sole * 0.6)
        rings.append(np.stack([x, np.full_like(x, yy), z], -1))
    return loft(np.stack(rings), material)


def _shoe_base(d: Draft) -> tuple[float, float, float]:
    """Length, width and sole of a man's, woman's or child's shoe, said in words."""
    who = str(d.rng.choice(["men's", "women's", "children's"]))
    d.words.append(who)
    length = 1.0
    width = length * {"men's": 0.36, "women's": 0.32, "children's": 0.42}[who] * d.uniform(0.93, 1.07)
    sole = d.uniform(0.06, 0.12)
    return length, width, sole


def _laces(d: Draft, top: Callable[[float], float], half: float, material: int, start: float, end: float) -> None:
    for position in np.linspace(start, end, int(d.rng.integers(3, 6))):
        y, z = position - 0.5, top(float(position))
        d.add(tube(arc((0, y, z - 0.05), (half, 0.075), 20, 160, "xz", 9), 0.012, material, 8))


def trainer(d: Draft) -> str:
    length, width, sole = _shoe_base(d)
    main = d.main_material(("plain", "two_tone", "bands", "diagonal", "speckle", "fabric"))
    rubber = d.material(str(d.rng.choice(["white", "white", "cream", "black", "grey", "brown"])))
    accent, dark = d.material(), d.material("black")
    collar, vamp, toe = d.uniform(0.40, 0.50), d.uniform(0.28, 0.34), d.uniform(0.15, 0.20)
    heights = [(0.0, collar * 0.85), (0.06, collar), (0.30, collar * 0.96), (0.50, vamp)]
    heights += [(0.75, toe * 1.15), (0.93, toe), (1.0, toe * 0.55)]
    d.add(extrude(_foot_outline(length * 1.03, width * 1.06, 1.0), sole, rubber, bevel=0.012))
    d.add(_upper(length, width, sole, heights, main))
    d.add(ellipsoid((width * 0.24, 0.15, 0.035), dark).moved((0, -0.31, collar - 0.012)))
    heel = d.material()
    d.add(ellipsoid((width * 0.34, 0.05, collar * 0.3), heel, 3).moved((0, -length / 2 + 0.035, sole + collar * 0.35)))
    toecap = ellipsoid((width * 0.38, 0.09, toe * 0.42), rubber if d.chance(0.5) else accent, 2.5)
    d.add(toecap.moved((0, length / 2 - 0.075, sole * 0.7 + toe * 0.25)))
    profile = smooth_profile(heights, 80)
    top = lambda s: float(np.interp(s, profile[:, 0], profile[:, 1]))  # noqa: E731
    _laces(d, top, width * 0.24, d.material("white"), 0.45, 0.68)
    side = d.rng.integers(3)
    z = sole + 0.07
    if side == 0:  # one sweeping stripe on the outer side only
        path = [[width * 0.40, -0.20, z + 0.15], [width * 0.47, 0.0, z + 0.03], [width * 0.44, 0.22, z + 0.04]]
        d.add(tube(smooth_profile(path, 16), 0.03, accent, 8, flat=0.6))
    elif side == 1:
        for y in (-0.1, 0.0, 0.1):
            stripe = smooth_profile([[width * 0.48, y - 0.03, z], [width * 0.42, y + 0.04, z + 0.14]], 8)
            d.add(tube(stripe, 0.02, accent, 8, flat=0.6))
    return "trainer"


def boot(d: Draft) -> str:
    length, width, sole = _shoe_base(d)
    main = d.main_material(("plain", "two_tone", "speckle", "fabric", "checks"))
    rubber, dark = d.material(str(d.rng.choice(["black", "brown", "cream", "white"]))), d.material("black")
    shaft = d.uniform(0.6, 1.0)
    ankle, toe = d.uniform(0.30, 0.36), d.uniform(0.17, 0.22)
    heights = [(0.0, ankle), (0.30, ankle * 1.1), (0.46, ankle), (0.7, toe * 1.2), (0.92, toe), (1.0, toe * 0.6)]
    d.add(extrude(_foot_outline(length * 1.02, width * 1.06, 1.0), sole, rubber, bevel=0.012))
    d.add(_upper(length, width, sole, heights, main))
    if d.chance(0.6):
        d.add(rounded_box((width * 0.75, 0.26, sole * 0.9), rubber, 0.02).moved((0, -0.36, -sole * 0.8)))
    outline = superellipse(28, 2.2)
    rings = []
    for t in np.linspace(0, 1, 12):
        z = sole + 0.08 + t * (shaft - sole - 0.08)
        across, along = width * (0.36 + 0.08 * t), 0.19 + 0.03 * t
        rings.append(np.stack([outline[:, 0] * across, outline[:, 1] * along - 0.28 - 0.01 * t, np.full(28, z)], -1))
    d.add(loft(np.stack(rings), main))
    d.add(ellipsoid((width * 0.36, 0.18, 0.02), dark).moved((0, -0.29, shaft)))
    cuff = d.material()
    if d.chance(0.5):
        ring = lathe([(0.19, 0), (0.235, 0.02), (0.235, 0.09), (0.19, 0.11)], cuff)
        d.add(ring.scaled((width * 2.05, 1.0, 1)).moved((0, -0.285, shaft - 0.1)))
    if d.chance(0.5):
        for z in np.linspace(ankle, shaft - 0.15, 4):
            d.add(tube(arc((0, -0.13, z), (width * 0.3, 0.06), 10, 170, "xy", 9), 0.013, cuff, 8))
    return "boot"


def sandal(d: Draft) -> str:
    length, width, sole = _shoe_base(d)
    main = d.main_material(("plain", "bands", "wood", "two_tone"))
    strap = d.material()
    heel = d.uniform(0.0, 0.18) if "women's" in d.words else 0.0
    bed = extrude(_foot_outline(length, width, 1.0), sole, main, bevel=0.012)
    bed = Part(bed.vertices.copy(), bed.faces, bed.material)
    bed.vertices[:, 2] += heel * np.clip(0.55 - bed.vertices[:, 1] - 0.5, 0, 1) ** 1.3
    d.add(bed)
    if heel > 0.03:
        d.add(rounded_box((width * 0.6, 0.22, heel * 0.8), main, 0.02).moved((0, -0.36, 0)))
    for y in (0.22, 0.30) if d.chance(0.5) else (0.25,):
        over = arc((0, y, sole), (width * 0.46, d.uniform(0.13, 0.18)), 0, 180, "xz", 16)
        d.add(tube(over, d.uniform(0.025, 0.045), strap, 10))
    behind = arc((0, -0.22, sole + heel * 0.8), (width * 0.40, d.uniform(0.2, 0.3)), 0, 180, "xz", 16)
    d.add(tube(behind, 0.026, strap, 10))
    d.add(tube(arc((0, -0.22, sole + heel + 0.10), (width * 0.40, 0.24), 180, 360, "xy", 16), 0.024, strap, 10))
    if d.chance(0.7):
        d.add(ellipsoid((0.03, 0.035, 0.035), d.material("gold"), 4).moved((width * 0.46, -0.22, sole + heel + 0.06)))
    return "sandal"


# ----------------------------------------------------------------------------------------------------------- kitchen


def _vessel(outer: list[tuple[float, float]], wall: float, material: int, smooth: bool = True) -> Part:
    """A vessel turned from its outer profile (radius, z from foot to rim), hollow to near its foot."""
    profile = smooth_profile(outer, 24) if smooth else np.asarray(outer, np.float32)
    inner = profile[profile[:, 1] > profile[0, 1] + wall * 1.5][::-1].copy()
    inner[:, 0] = np.maximum(inner[:, 0] - wall, 0.01)
    foot = np.array([[0, profile[0, 1]], [profile[0, 0] * 0.98, profile[0, 1]]])
    floor = np.array([[0, inner[-1, 1]]])
    return lathe(np.concatenate([foot, profile, inner, floor]), material, refine=1)


def mug(d: Draft) -> str:
    main = d.main_material(ROUND, round=True, gloss=0.25)
    height, radius = d.uniform(0.75, 1.0), d.uniform(0.30, 0.42)
    waist = radius * d.uniform(0.8, 1.15)
    outer = [(radius * d.uniform(0.75, 1.0), 0), (radius, 0.06), (waist, height * 0.5), (radius, height)]
    d.add(_vessel(outer, 0.035, main))
    handle = d.material() if d.chance(0.4) else main
    side = float(d.rng.choice([1, 1, 1, -1]))
    reach, tall = d.uniform(0.20, 0.30), height * d.uniform(0.24, 0.34)
    path = arc((0, waist * 0.93, height * 0.5), (reach, tall), -95, 95, "yz", 24)
    grip = tube(path, d.uniform(0.035, 0.055), handle, 14)
    d.add(grip.turned(d.uniform(-50, 50) if side > 0 else 180 + d.uniform(-50, 50)))
    if handle != main and d.chance(0.7):  # a label belongs to the body alone
        d.words.append("labelled")
        d.label(main, (0.0, 0.0), (radius * 1.0, height * 0.42))
    return "mug"


def teapot(d: Draft) -> str:
    main = d.main_material(ROUND, round=True, gloss=0.25)
    radius, height = d.uniform(0.33, 0.42), d.uniform(0.5, 0.72)
    belly = d.uniform(0.35, 0.6)
    body = [(0.0, 0.0), (radius * 0.6, 0.0), (radius, height * belly), (radius * 0.42, height), (0.0, height)]
    d.add(lathe(smooth_profile(body, 28), main))
    lid = d.material() if d.chance(0.5) else main
    d.add(ellipsoid((radius * 0.45, radius * 0.45, 0.07), lid).moved((0, 0, height)))
    d.add(ellipsoid((0.05, 0.05, 0.055), lid).moved((0, 0, height + 0.1)))
    side = float(d.rng.choice([1, -1]))
    tip = height * d.uniform(0.85, 1.05)
    spout = [[0, radius * 0.8, height * 0.3], [0, radius + 0.15, height * 0.5], [0, radius + 0.22, tip]]
    handle = d.material() if d.chance(0.4) else main
    if d.chance(0.7):
        grip = tube(arc((0, -radius * 0.85, height * 0.55), (0.26, height * 0.33), 85, 275, "yz", 24), 0.038, handle)
    else:
        grip = tube(arc((0, 0, height * 0.8), (radius * 0.85, 0.42), 0, 180, "yz", 28), 0.035, handle)
    turn = d.uniform(-25, 25) + (0 if side > 0 else 180)
    d.add(tube(smooth_profile(spout, 18), np.linspace(0.085, 0.04, 18), main).turned(turn), grip.turned(turn))
    return "teapot"


def watering_can(d: Draft) -> str:
    main = d.main_material(ROUND, round=True)
    radius, height = d.uniform(0.27, 0.36), d.uniform(0.42, 0.58)
    d.add(_vessel([(radius, 0), (radius * d.uniform(0.85, 1.0), height)], 0.03, main, smooth=False))
    accent = d.material()
    turn = d.uniform(-25, 25) + (0 if d.chance(0.5) else 180)
    spout = [[0, radius * 0.85, height * 0.22], [0, radius + 0.2, height * 0.7], [0, radius + 0.36, height * 1.15]]
    d.add(tube(smooth_profile(spout, 14), np.linspace(0.06, 0.035, 14), main).turned(turn))
    rose = cylinder(0.035, 0.06, accent, top_radius=0.085).turned(-50, 0)
    d.add(rose.moved((0, radius + 0.34, height * 1.12)).turned(turn))
    handle = arc((0, -radius * 0.55, height * 0.75), (0.36, height * 0.55), 60, 275, "yz", 24)
    d.add(tube(handle, 0.03, accent).turned(turn))
    return "watering can"


def bottle(d: Draft) -> str:
    main = d.main_material(("plain", "gradient", "two_tone", "bands", "speckle"), round=True, gloss=0.35)
    radius, shoulder, neck = d.uniform(0.13, 0.21), d.uniform(0.5, 0.68), d.uniform(0.045, 0.07)
    body = [(0, 0), (radius * 0.96, 0), (radius, 0.04), (radius, shoulder)]
    body += [(neck, shoulder + 0.18), (neck, 0.93), (0, 0.93)]
    d.add(lathe(smooth_profile(body, 40), main))
    d.add(cylinder(neck * 1.25, d.uniform(0.07, 0.14), d.material(), 0.01).moved((0, 0, 0.9)))
    if d.chance(0.7):
        d.words.append("labelled")
        d.label(main, (0.0, (shoulder - 0.93) * 0.5 + d.uniform(-0.04, 0.04)), (radius * 1.5, shoulder * 0.5))
    return "bottle"


def vase(d: Draft) -> str:
    main = d.main_material(ROUND, round=True, gloss=0.2)
    r = [d.uniform(0.12, 0.25), d.uniform(0.2, 0.38), d.uniform(0.1, 0.26), d.uniform(0.12, 0.28)]
    d.add(_vessel([(r[0], 0), (r[1], d.uniform(0.25, 0.5)), (r[2], d.uniform(0.68, 0.82)), (r[3], 1.0)], 0.03, main))
    if d.chance(0.25):
        for turn in (0, 180):
            d.add(tube(arc((0, r[2] * 0.9, 0.7), (0.14, 0.18), -80, 90, "yz", 18), 0.028, main).turned(turn + 8))
    return "vase"


def bowl(d: Draft) -> str:
    main = d.main_material(ROUND, round=True, gloss=0.2)
    radius, height = 0.5, d.uniform(0.26, 0.5)
    outer = [(radius * d.uniform(0.35, 0.55), 0), (radius * d.uniform(0.7, 0.9), height * 0.4), (radius, height)]
    d.add(_vessel(outer, 0.03, main))
    if d.chance(0.5):
        d.add(cylinder(radius * 0.45, 0.06, d.material(), 0.01).moved((0, 0, -0.04)))
    return "bowl"


def plant_pot(d: Draft) -> str:
    main = d.main_material(ROUND, round=True)
    radius, height = d.uniform(0.22, 0.32), d.uniform(0.32, 0.5)
    d.add(_vessel([(radius * d.uniform(0.65, 0.95), 0), (radius, height)], 0.03, main, smooth=False))
    d.add(cylinder(radius * 0.88, 0.03, d.material("brown")).moved((0, 0, height * 0.85)))
    leaf = d.material(str(d.rng.choice(["green", "olive", "mint"])))
    kind = d.rng.integers(3)
    if kind == 0:
        d.words.append("cactus")
        d.add(ellipsoid((0.11, 0.11, 0.3), leaf, 2.3).moved((0, 0, height + 0.2)))
        for _ in range(int(d.rng.integers(1, 4))):
            arm = arc((0, 0.1, height + d.uniform(0.1, 0.3)), (0.12, 0.16), -90, 0, "yz", 12)
            d.add(tube(arm, 0.05, leaf).turned(d.uniform(0, 360)))
    elif kind == 1:
        for _ in range(int(d.rng.integers(6, 11))):
            lean, tall = d.uniform(0.05, 0.25), d.uniform(0.35, 0.55)
            path = [[0, 0, height * 0.8], [lean * 0.3, 0, height + tall * 0.5], [lean, 0, height + tall]]
            blade = tube(smooth_profile(path, 12), np.linspace(0.05, 0.012, 12), leaf, 8, flat=0.4)
            d.add(blade.turned(d.uniform(0, 360)))
    else:
        for _ in range(int(d.rng.integers(7, 12))):
            size = d.uniform(0.1, 0.17)
            x, y, z = d.rng.normal(0, [0.11, 0.11, 0.08])
            d.add(ellipsoid((size, size, size * 0.9), leaf, segments=18).moved((x, y, height + 0.15 + z)))
    return "potted plant"


# --------------------------------------------------------------------------------------------------------- furniture


def lamp(d: Draft) -> str:
    shade = d.main_material(ROUND, round=True)
    stand = d.material(gloss=0.2)
    foot = d.uniform(0.15, 0.24)
    d.add(cylinder(foot, d.uniform(0.03, 0.07), stand, 0.012))
    if d.chance(0.5):
        d.add(cylinder(d.uniform(0.02, 0.035), 0.75, stand))
    else:
        r = [d.uniform(0.03, 0.15) for _ in range(3)]
        turned = [(0, 0.03), (r[0], 0.06), (r[1], 0.25), (r[2], 0.42), (0.025, 0.55), (0.025, 0.75), (0, 0.75)]
        d.add(lathe(smooth_profile(turned, 28), stand))
    low, top, height = d.uniform(0.25, 0.38), d.uniform(0.12, 0.26), d.uniform(0.28, 0.40)
    base = 1.0 - height
    wall = [[0.0, base + 0.05], [low - 0.05, base + 0.02], [low, base], [top, 1.0], [top - 0.02, 1.0], [0.0, 0.97]]
    d.add(lathe(wall, shade, refine=3))
    return "table lamp"


def _legs(d: Draft, half_x: float, half_y: float, height: float, radius: float, material: int, splay: float) -> None:
    square = d.chance(0.4)
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot = np.array([sx * (half_x + splay), sy * (half_y + splay), 0.0])
            top = np.array([sx * half_x, sy * half_y, height])
            if square and splay < 0.01:
                d.add(rounded_box((radius * 2, radius * 2, height), material, 0.008).moved((foot[0], foot[1], 0)))
            else:
                d.add(tube(np.linspace(foot, top, 6), np.linspace(radius * 0.75, radius, 6), material, 12))


def chair(d: Draft) -> str:
    main, frame = d.main_material(FLAT), d.material(pattern=str(d.rng.choice(["plain", "wood"])))
    width, depth, seat, height = d.uniform(0.42, 0.55), d.uniform(0.40, 0.5), d.uniform(0.42, 0.5), 1.0
    thick = d.uniform(0.035, 0.09)
    d.add(rounded_box((depth, width, thick), main, thick * 0.4).moved((0, 0, seat - thick)))
    leg, splay = d.uniform(0.018, 0.03), d.uniform(0, 0.05) if d.chance(0.6) else 0.0
    _legs(d, depth * 0.42, width * 0.42, seat - thick * 0.5, leg, frame, splay)
    back = -depth / 2 + 0.025
    kind = d.rng.integers(3)
    if kind == 0:
        d.add(rounded_box((0.05, width, height - seat - 0.06), main, 0.02).moved((back, 0, seat + 0.06)))
    elif kind == 1:
        d.add(rounded_box((0.045, width, 0.14), main, 0.02).moved((back, 0, height - 0.14)))
        for y in np.linspace(-0.4, 0.4, int(d.rng.integers(3, 6))) * width:
            rod = [[back, y, seat - 0.02], [back, y, height - 0.4 * (height - seat)], [back, y, height - 0.1]]
            d.add(tube(rod, 0.014, frame, 10))
    else:
        d.add(rounded_box((0.04, width, 0.1), main, 0.015).moved((back, 0, height - 0.1)))
        d.add(rounded_box((0.04, width, 0.1), main, 0.015).moved((back, 0, seat + (height - seat) * 0.42)))
    for y in (-0.46 * width, 0.46 * width):
        post = [[back, y, seat - 0.03], [back, y, (seat + height) / 2], [back, y, height - 0.02]]
        d.add(tube(post, 0.02, frame, 10))
    if d.chance(0.3):
        for y in (-0.5, 0.5):
            d.add(rounded_box((depth * 0.8, 0.05, 0.035), frame, 0.012).moved((0, y * width, seat + 0.2)))
            post = [[depth * 0.3, y * width, z] for z in (seat - 0.03, seat + 0.1, seat + 0.21)]
            d.add(tube(post, 0.016, frame, 10))
    return "chair"


def stool(d: Draft) -> str:
    main, frame = d.main_material(FLAT, round=True), d.material(pattern=str(d.rng.choice(["plain", "wood"])))
    radius, height, thick = d.uniform(0.22, 0.32), d.uniform(0.6, 1.0), d.uniform(0.05, 0.14)
    d.add(cylinder(radius, thick, main, thick * 0.35).moved((0, 0, height - thick)))
    if d.chance(0.7):
        leg, splay = d.uniform(0.02, 0.032), d.uniform(0.02, 0.08)
        _legs(d, radius * 0.55, radius * 0.55, height - thick * 0.5, leg, frame, splay)
        ring = radius * 0.8
        rung = [[ring * 0.8, y, height * 0.3] for y in (-ring * 0.8, 0, ring * 0.8)]
        for k in range(4) if d.chance(0.6) else ():
            d.add(tube(rung, 0.014, frame, 10).turned(90 * k))
    else:
        d.add(cylinder(0.035, height - thick * 0.5, frame), cylinder(radius * 0.85, 0.04, frame, 0.015))
    return "stool"


def table(d: Draft) -> str:
    main = d.main_material(FLAT)
    frame = main if d.chance(0.4) else d.material(pattern=str(d.rng.choice(["plain", "wood"])))
    width, height, thick = 1.0, d.uniform(0.4, 0.7), d.uniform(0.03, 0.07)
    if d.chance(0.3):
        radius = d.uniform(0.35, 0.45)
        d.add(cylinder(radius, thick, main, 0.015).moved((0, 0, height - thick)))
        d.add(cylinder(0.045, height - thick * 0.5, frame), cylinder(radius * 0.55, 0.04, frame, 0.015))
        d.words.append("round")
    else:
        depth = d.uniform(0.4, 0.55)
        d.add(rounded_box((depth, width, thick), main, 0.012).moved((0, 0, height - thick)))
        _legs(d, depth * 0.42, width * 0.44, height - thick * 0.5, d.uniform(0.02, 0.035), frame, 0.0)
        if d.chance(0.4):
            drawers = rounded_box((depth * 0.8, width * 0.3, height * 0.25), frame, 0.01)
            side = float(d.rng.choice([-1, 1]))
            d.add(drawers.moved((0, side * width * 0.25, height - thick - height * 0.25)))
    return "table"


def sofa(d: Draft) -> str:
    main, leg = d.main_material(CLOTH), d.material(pattern="wood")
    cushion = main if d.chance(0.6) else d.material(pattern="fabric")
    width, depth, seat, height = 1.0, d.uniform(0.40, 0.48), d.uniform(0.17, 0.23), d.uniform(0.38, 0.5)
    arm = d.uniform(0.08, 0.13)
    d.add(rounded_box((depth, width - arm, seat - 0.03), main, 0.03).moved((0, 0, 0.05)))
    d.add(rounded_box((depth * 0.3, width - arm, height - 0.06), main, 0.05).moved((-depth * 0.35, 0, 0.06)))
    for y in (-1, 1) if d.chance(0.85) else (-1,):
        rest = rounded_box((depth, arm, seat + d.uniform(0.08, 0.14)), main, 0.04)
        d.add(rest.moved((0, y * (width - arm) / 2, 0.05)))
    count = int(d.rng.integers(1, 4))
    span = (width - 2 * arm) / count
    for k in range(count):
        pad = rounded_box((depth * 0.68, span * 0.96, 0.09), cushion, 0.035)
        d.add(pad.moved((depth * 0.13, (k - (count - 1) / 2) * span, seat)))
    if d.chance(0.5):
        pillow = ellipsoid((0.05, 0.11, 0.11), d.material(pattern="bands"), 3).turned(-15, 1)
        d.add(pillow.moved((0, d.uniform(-0.25, 0.25), seat + 0.19)))
    _legs(d, depth * 0.42, width * 0.45, 0.08, 0.018, leg, 0.0)
    return "sofa"


# -------------------------------------------------------------------------------------------------- bags and clothing


def handbag(d: Draft) -> str:
    main = d.main_material((*CLOTH, "diagonal", "speckle"))
    trim = d.material()
    width, height, depth = d.uniform(0.7, 1.0), d.uniform(0.45, 0.65), d.uniform(0.22, 0.34)
    taper = d.uniform(0.6, 0.95)
    outline = superellipse(40, 5.0)
    rings = []
    for t in np.linspace(0, 1, 10):
        w, p = width * (1 + (taper - 1) * t), depth * (1 - 0.55 * t)
        rings.append(np.stack([outline[:, 0] * p / 2, outline[:, 1] * w / 2, np.full(40, t * height)], -1))
    d.add(loft(np.stack(rings), main))
    reach, rise = width * taper * d.uniform(0.22, 0.32), d.uniform(0.22, 0.4)
    for x in (-0.05, 0.05) if d.chance(0.6) else (0.0,):
        d.add(tube(arc((x, 0, height - 0.03), (reach, rise), 0, 180, "yz", 26), 0.022, trim, 12))
    if d.chance(0.6):
        flap = rounded_box((0.03, width * taper * 0.9, height * d.uniform(0.3, 0.5)), trim, 0.014)
        d.add(flap.turned(d.uniform(8, 11), 1).moved((depth * 0.30, 0, height * 0.52)))
    d.add(ellipsoid((0.03, 0.045, 0.03), d.material("gold", gloss=0.4), 4).moved((depth * 0.45, 0, height * 0.55)))
    return "handbag"


def backpack(d: Draft) -> str:
    main = d.main_material((*CLOTH, "diagonal", "speckle"))
    pocket, strap = d.material(), d.material(str(d.rng.choice(["black", "grey", "brown", "navy"])))
    width, depth = d.uniform(0.55, 0.72), d.uniform(0.28, 0.38)
    d.add(ellipsoid((depth / 2, width / 2, 0.5), main, d.uniform(3.2, 5)).moved((0, 0, 0.5)))
    d.add(ellipsoid((0.10, width * 0.38, d.uniform(0.18, 0.24)), pocket, 4).moved((depth / 2, 0, 0.28)))
    if d.chance(0.5):
        d.add(ellipsoid((0.06, width * 0.32, 0.10), pocket, 4).moved((depth / 2 - 0.02, 0, 0.68)))
    for y in (-0.5, 0.5):
        top, low = [-depth * 0.35, y * width * 0.5, 0.93], [-depth * 0.4, y * width * 0.75, 0.12]
        path = [top, [-depth / 2 - 0.12, y * width * 0.62, 0.6], low]
        d.add(tube(smooth_profile(path, 20), 0.035, strap, 10, flat=0.5))
    d.add(tube(arc((-depth * 0.1, 0, 0.97), (0.09, 0.09), 0, 180, "yz", 14), 0.02, strap, 10))
    if d.chance(0.5):
        bottle_side = float(d.rng.choice([-1, 1]))
        d.add(cylinder(0.06, 0.34, d.material(), 0.02).moved((0, bottle_side * (width / 2 + 0.03), 0.08)))
    return "backpack"


def cap(d: Draft) -> str:
    main = d.main_material(CLOTH)
    visor = main if d.chance(0.5) else d.material()
    tall = d.uniform(0.30, 0.40)
    angles = np.linspace(0, np.pi / 2, 16)
    profile = np.stack([0.35 * np.cos(angles) ** 0.8, tall * np.sin(angles)], -1)
    hollow = np.array([[0.0, tall * 0.2], [0.30, tall * 0.1], [0.32, 0.0]])
    dome = lathe(np.concatenate([hollow, profile]), main, refine=1).scaled((0.9, 1.08, 1))
    brim = extrude(superellipse(40, 2.3) * np.array([0.27, 0.27], np.float32), 0.03, visor, 0.008)
    droop = Part(brim.vertices.copy(), brim.faces, brim.material)
    droop.vertices[:, 2] -= 0.8 * droop.vertices[:, 0] ** 2 + 0.12 * np.maximum(droop.vertices[:, 1], 0)
    turn = float(d.rng.choice([1, -1])) * d.uniform(50, 95)
    d.add(dome.turned(turn - 90), droop.moved((0, 0.44, 0.03)).turned(turn - 90))
    d.add(ellipsoid((0.025, 0.025, 0.018), visor).moved((0, 0, tall)))
    if d.chance(0.5):
        d.add(ellipsoid((0.02, 0.08, 0.07), d.material(), 3).turned(-22, 1).moved((0.31, 0, tall * 0.45)).turned(turn))
    return "cap"


# -------------------------------------------------------------------------------------------------------------- toys


def toy_car(d: Draft) -> str:
    main = d.main_material(("plain", "bands", "two_tone", "checks", "speckle", "diagonal"))
    glass = d.material("sky blue" if d.chance(0.6) else "black", gloss=0.4)
    tyre, hub = d.material("black"), d.material("silver" if d.chance(0.6) else None)
    width, body, clear = d.uniform(0.38, 0.48), d.uniform(0.17, 0.25), d.uniform(0.06, 0.1)
    wheel = d.uniform(0.09, 0.14)
    d.add(rounded_box((width, 1.0, body), main, d.uniform(0.03, 0.08)).moved((0, 0, clear)))
    roof, length, offset = d.uniform(0.14, 0.22), d.uniform(0.4, 0.62), d.uniform(-0.16, 0.02)
    x, y = superellipse(36, 5).T
    rings = [
        np.stack([x * width * 0.46 * s, y * length / 2 * s + offset, np.full(36, clear + body - 0.02 + z)], -1)
        for s, z in ((1, 0), (0.9, roof * 0.5), (0.78, roof), (0.6, roof + 0.012))
    ]
    cabin = d.material() if d.chance(0.3) else main
    d.add(loft(np.stack(rings), glass if d.chance(0.5) else cabin))
    for y in (-0.31, 0.31):
        for x in (-1, 1):
            tilt = cylinder(wheel, 0.09, tyre, 0.015).turned(90 * x, 1)
            d.add(tilt.moved((x * (width / 2 - 0.05), y, wheel)))
            d.add(cylinder(wheel * 0.5, 0.03, hub).turned(90 * x, 1).moved((x * (width / 2 + 0.025), y, wheel)))
    for x in (-1, 1):
        d.add(ellipsoid((0.05, 0.03, 0.04), d.material("yellow")).moved((x * width * 0.32, 0.49, clear + body * 0.6)))
        d.add(ellipsoid((0.05, 0.02, 0.03), d.material("red")).moved((x * width * 0.32, -0.49, clear + body * 0.6)))
    if d.chance(0.3):
        d.add(rounded_box((width * 0.3, 0.2, 0.08), d.material(), 0.02).moved((0, offset, clear + body + roof)))
    return "toy car"


def toy_animal(d: Draft) -> str:
    main = d.main_material(("plain", "speckle", "bands", "dots", "two_tone", "fabric"))
    accent, eye = d.material(), d.material("black", gloss=0.5)
    length, fat, leg = d.uniform(0.30, 0.40), d.uniform(0.15, 0.23), d.uniform(0.18, 0.38)
    body_z = leg + fat * 0.6
    d.add(ellipsoid((fat, length, fat * d.uniform(0.9, 1.15)), main, 2.3).moved((0, 0, body_z)))
    head = d.uniform(0.13, 0.20)
    head_y, head_z = length + head * 0.35, body_z + d.uniform(0.12, 0.35)
    neck = [[0, length * 0.7, body_z], [0, length * 0.9, (body_z + head_z) / 2], [0, head_y, head_z]]
    d.add(tube(neck, [fat * 0.6, fat * 0.45, head * 0.6], main))
    d.add(ellipsoid((head * 0.9, head, head), main).moved((0, head_y, head_z)))
    snout = ellipsoid((head * 0.5, head * 0.55, head * 0.45), accent)
    d.add(snout.moved((0, head_y + head * 0.8, head_z - head * 0.25)))
    ear, kind = d.uniform(0.06, 0.2), d.uniform(0.04, 0.08)
    for x in (-1, 1):
        flap = ellipsoid((kind * 0.8, kind * 0.6, ear), accent if d.chance(0.5) else main)
        flap = flap.turned(x * d.uniform(5, 45), 1)
        d.add(flap.moved((x * head * 0.62, head_y - head * 0.15, head_z + head * 0.75 + ear * 0.4)))
        d.add(ellipsoid((0.022, 0.025, 0.03), eye).moved((x * head * 0.72, head_y + head * 0.52, head_z + head * 0.25)))
        for y in (-0.62, 0.62):
            foot, knee = [x * fat * 0.6, y * length, 0], [x * fat * 0.6, y * length, leg * 0.6]
            limb = [foot, knee, [x * fat * 0.55, y * length, body_z]]
            d.add(tube(limb, d.uniform(0.055, 0.075), main, 14))
    middle, tip = d.uniform(-0.1, 0.15), d.uniform(-0.2, 0.3)
    tail = [[0, -length * 0.9, body_z + 0.05], [0, -length - 0.1, body_z + middle], [0, -length - 0.16, body_z + tip]]
    d.add(tube(smooth_profile(tail, 12), d.uniform(0.02, 0.05), accent if d.chance(0.4) else main))
    return "toy animal"


# ---------------------------------------------------------------------------------------------------- boxes and clocks


def boxed_goods(d: Draft) -> str:
    main = d.main_material(("plain", "bands", "stripes", "diagonal", "dots", "two_tone", "gradient", "checks"))
    if d.chance(0.6):
        width, depth, height = d.uniform(0.45, 0.8), d.uniform(0.2, 0.4), 1.0
    else:
        width, depth, height = 1.0, d.uniform(0.3, 0.5), d.uniform(0.3, 0.75)
    d.add(rounded_box((depth, width, height), main, d.uniform(0.006, 0.02)).turned(d.uniform(-12, 12)))
    d.words.append("labelled")
    d.label(main, (0.0, d.uniform(-0.1, 0.15) * height), (width * 0.75, height * 0.4))
    return "box"


def loudspeaker(d: Draft) -> str:
    main, cone, ring = d.main_material(FLAT), d.material("black"), d.material()
    width, depth = d.uniform(0.4, 0.6), d.uniform(0.35, 0.5)
    d.add(rounded_box((depth, width, 1.0), main, d.uniform(0.01, 0.07)))
    levels = [(0.32, width * d.uniform(0.32, 0.42)), (0.72, width * d.uniform(0.16, 0.26))]
    for z, radius in levels:
        front = cylinder(radius, 0.04, ring, 0.012).turned(90, 1)
        d.add(front.moved((depth / 2 - 0.015, 0, z)))
        inner = [(0, 0.0), (radius * 0.82, 0.0), (radius * 0.82, 0.045), (radius * 0.3, 0.03), (0, 0.05)]
        d.add(lathe(inner, cone).turned(90, 1).moved((depth / 2 - 0.01, 0, z)))
        d.add(ellipsoid((0.03, radius * 0.28, radius * 0.28), ring).moved((depth / 2 + 0.025, 0, z)))
    return "loudspeaker"


def clock(d: Draft) -> str:
    main = d.main_material(("plain", "wood", "two_tone", "speckle", "gradient"))
    face = d.material(str(d.rng.choice(["white", "cream", "black", "sky blue"])))
    hand = d.material(str(d.rng.choice(["black", "red", "navy", "gold"])))
    depth = d.uniform(0.18, 0.34)
    if d.chance(0.6):
        d.add(cylinder(0.5, depth, main, 0.03).turned(90, 1).moved((-depth / 2, 0, 0.5)))
        radius = 0.42
        for y in (-1, 1):
            d.add(tube([[0, y * 0.22, 0.12], [0, y * 0.27, 0.05], [0, y * 0.33, -0.06]], 0.035, main, 10))
        if d.chance(0.6):
            for y in (-1, 1):
                bell = ellipsoid((0.11, 0.13, 0.09), d.material("gold" if d.chance(0.5) else None, gloss=0.4))
                d.add(bell.turned(y * -35, 0).moved((0, y * 0.28, 1.0)))
    else:
        d.add(rounded_box((depth, 0.9, 1.0), main, 0.06))
        radius = 0.36
    z = 0.5
    d.add(cylinder(radius, 0.03, face).turned(90, 1).moved((depth / 2 - 0.005, 0, z)))
    x = depth / 2 + 0.025
    for angle in range(0, 360, 30):
        s, c = np.sin(np.radians(angle)), np.cos(np.radians(angle))
        d.add(ellipsoid((0.012, 0.022, 0.022), hand, segments=10).moved((x, s * radius * 0.82, z + c * radius * 0.82)))
    for reach, thick in ((0.5, 0.024), (0.75, 0.016)):
        a = d.uniform(0, 2 * np.pi)
        end = (x, np.sin(a) * radius * reach, z + np.cos(a) * radius * reach)
        d.add(tube(np.linspace((x, 0, z), end, 5), thick, hand, 8))
    return "clock"


def compound(d: Draft) -> str:
    """Random solids stuck together: shapes without a name (as LRM-Zero's Zeroverse showed, they teach too)."""
    for _ in range(int(d.rng.integers(2, 6))):
        material = d.material(pattern=str(d.rng.choice([*ROUND, "wood", "fabric"])), round=d.chance(0.5))
        size = [d.uniform(0.1, 0.32) for _ in range(3)]
        match int(d.rng.integers(5)):
            case 0:
                part = ellipsoid(size, material, d.uniform(1.6, 5))
            case 1:
                part = rounded_box([2 * s for s in size], material, d.uniform(0.005, 0.08)).moved((0, 0, -size[2]))
            case 2:
                top = size[0] * d.uniform(0.2, 1.2)
                part = cylinder(size[0], size[2] * 2, material, 0.01, top_radius=top).moved((0, 0, -size[2]))
            case 3:
                path = arc((0, 0, 0), (size[1], size[2]), 0, d.uniform(120, 330), "yz", 24)
                part = tube(path, d.uniform(0.03, 0.1), material)
            case _:
                r = d.rng.uniform(0.05, 0.3, 3)
                outer = smooth_profile([(0, -0.3), (r[0], -0.28), (r[1], 0), (r[2], 0.28), (0, 0.3)], 24)
                part = lathe(outer, material)
        part = part.turned(d.uniform(0, 360), 0).turned(d.uniform(0, 360), 1).turned(d.uniform(0, 360), 2)
        d.add(part.moved(d.rng.normal(0, 0.16, 3)))
    d.words.append("abstract")
    return "object"


#: How far a body reaches from its axis, at an angle (degrees from +x) and a height.
Reach = Callable[[float, float], float]


def assembly(d: Draft) -> str:
    """A body that stands upright, with handles, spouts, lids and legs at random: how products are put together, of no
    kind.
    """
    main = d.main_material(FLAT if d.chance(0.5) else ROUND, round=d.chance(0.5), gloss=d.uniform(0, 0.4))

    def tint() -> int:
        return main if d.chance(0.35) else d.material()

    body, reach, height = _upright_body(d, main)
    parts = [body]
    if d.chance(0.35):
        parts += _feet(d, reach(0, 0), reach(90, 0), tint())
    if d.chance(0.3):  # a second body on top, as of a lamp or a mixer
        top, _, more = _upright_body(d, tint())
        parts.append(top.scaled([d.uniform(0.4, 1.1)] * 2 + [0.6]).moved((0, 0, height * 0.98)))
        height += 0.6 * more
    for _ in range(int(d.rng.integers(1, 5))):
        angle = d.uniform(-30, 30) + float(d.rng.choice([0, 90, 90, 180, 270, 270]))
        parts += [part.turned(angle) for part in _attachment(d, reach, angle, height, tint)]
    turn = d.uniform(-25, 25)
    d.add(*(part.turned(turn) for part in parts))
    d.words.append("abstract")
    return "object"


def _upright_body(d: Draft, material: int) -> tuple[Part, Reach, float]:
    """A column of superelliptic rings on z = 0, closed or hollow; how far it reaches, and how high it is."""
    height = d.uniform(0.25, 1.0)
    x, y = d.uniform(0.12, 0.45), d.uniform(0.12, 0.45)
    exponent = 2.0 if d.chance(0.4) else d.uniform(2.5, 8)
    if exponent == 2.0 and d.chance(0.7):
        y = x
    levels = np.linspace(0, 1, int(d.rng.integers(2, 6)))
    spread = d.uniform(0.0, 0.5)
    profile = smooth_profile([(1 + d.uniform(-spread, spread), level * height) for level in levels], 24)

    def reach(angle_deg: float, z: float) -> float:
        c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
        radius = (abs(c / x) ** exponent + abs(s / y) ** exponent) ** (-1 / exponent)
        return float(radius * np.interp(z, profile[:, 1], profile[:, 0]))

    inner = profile[profile[:, 1] > 0.06][::-1] * [0.88, 1.0]
    outline = np.concatenate([profile, inner]) if d.chance(0.4) else profile
    flat = superellipse(48, exponent) * [x, y]
    rings = [np.concatenate([flat * width, np.full((48, 1), z)], -1) for width, z in outline]
    return loft(np.stack(rings), material), reach, height


def _feet(d: Draft, x: float, y: float, material: int) -> list[Part]:
    """Legs, a pedestal or wheels, below z = 0, under a body that reaches to x and y."""
    low, thick = -d.uniform(0.08, 0.6), d.uniform(0.02, 0.06)
    match int(d.rng.integers(3)):
        case 0:
            out, angles = d.uniform(0.7, 1.2), np.linspace(0, 360, 4 + int(d.chance(0.6)))[:-1] + 45
            ends = [(np.cos(np.radians(a)) * x * 0.7, np.sin(np.radians(a)) * y * 0.7) for a in angles]
            return [
                tube([[a, b, 0.03], [a * out, b * out, low / 2], [a * out, b * out, low]], thick, material, 10)
                for a, b in ends
            ]
        case 1:
            foot = cylinder(max(x, y) * d.uniform(0.6, 1.2), 0.05, material, 0.01).moved((0, 0, low))
            return [cylinder(thick, -low + 0.03, material).moved((0, 0, low)), foot]
        case _:
            wheel = cylinder(d.uniform(0.06, 0.18), 0.06, material, 0.01).turned(90, 0)
            return [wheel.moved((a * x * 0.65, b * y + 0.03, 0.0)) for a in (-1, 1) for b in (-1, 1)]


def _attachment(d: Draft, reach: Reach, angle: float, height: float, tint: Callable[[], int]) -> tuple[Part, ...]:
    """Something that sticks out of a body towards ``angle``, which is +x here."""
    z = height * d.uniform(0.15, 0.85)
    out, rim = reach(angle, z), reach(angle, height)
    material = tint()
    match int(d.rng.integers(7)):
        case 0:  # a handle at the side
            radii = d.uniform(0.1, 0.35), height * d.uniform(0.15, 0.45)
            return (tube(arc((out * 0.92, 0, z), radii, -95, 95, "xz", 24), d.uniform(0.02, 0.06), material),)
        case 1:  # a handle over the top
            radii = max(rim, 0.08) * d.uniform(0.7, 1.0), d.uniform(0.12, 0.5)
            return (tube(arc((0, 0, height * 0.96), radii, 0, 180, "xz", 28), d.uniform(0.02, 0.05), material),)
        case 2:  # a spout, a neck, a tail
            far, up, bend = d.uniform(0.1, 0.45), d.uniform(-0.15, 0.5), d.uniform(0.2, 0.8)
            start, middle = [out * 0.85, 0, z], [out + far * bend, 0, z + up * (1 - bend)]
            path = smooth_profile([start, middle, [out + far, 0, z + up]], 16)
            thick = d.uniform(0.04, 0.1)
            return (tube(path, np.linspace(thick, thick * d.uniform(0.3, 1.2), 16), material),)
        case 3:  # a lid with a knob
            lid, knob = max(rim, 0.1) * d.uniform(0.7, 1.1), d.uniform(0.03, 0.08)
            thick, top = d.uniform(0.03, 0.12), lid * d.uniform(0.5, 1.0)
            return (
                cylinder(lid, thick, material, 0.01, top_radius=top).moved((0, 0, height * 0.99)),
                ellipsoid((knob, knob, knob * d.uniform(0.7, 1.8)), material).moved((0, 0, height * 0.99 + 0.12)),
            )
        case 4:  # a pair of ears, wings or wheels
            size = [d.uniform(0.03, 0.16), d.uniform(0.03, 0.16), d.uniform(0.05, 0.22)]
            left, right = (
                ellipsoid(size, material, d.uniform(1.8, 5)).moved((a * out, d.uniform(-0.05, 0.05), z))
                for a in (-1, 1)
            )
            return left, right
        case 5:  # a ring about it
            ring = arc((0, 0, z), (out, reach(angle + 90, z)), 0, 340, "xy", 40)
            return (tube(ring, d.uniform(0.02, 0.05), material),)
        case _:  # a panel, a back, a drawer
            size = [d.uniform(0.03, 0.12), d.uniform(0.15, 0.7), d.uniform(0.15, 0.7)]
            panel = rounded_box(size, material, 0.015).turned(d.uniform(-15, 15), 1)
            return (panel.moved((out, 0, z - size[2] * d.uniform(0, 0.5))),)


_KITCHEN = (mug, teapot, bottle, vase, bowl, plant_pot)
_FURNITURE = (lamp, chair, stool, table, sofa)
_OTHERS = (handbag, backpack, cap, toy_car, toy_animal, boxed_goods, loudspeaker, clock, watering_can)
_MAKERS = (trainer, boot, sandal, *_KITCHEN, *_FURNITURE, *_OTHERS, compound, assembly)
#: In the order of the splits' members.
FAMILIES: dict[str, Callable[[Draft], str]] = {maker.__name__: maker for maker in _MAKERS}

#: Never trained on: measures what the priors make of a kind of thing that they have not seen.
HELD_OUT_FAMILY = "watering_can"
#: Shapes of no kind: they teach shape as such.
NAMELESS = ("compound", "assembly")
TRAINED_FAMILIES = tuple(family for family in FAMILIES if family not in (HELD_OUT_FAMILY, *NAMELESS))
