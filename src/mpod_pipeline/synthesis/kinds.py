"""What ImageNet calls the families, for a classifier that had no part in any training."""

from __future__ import annotations

#: Family to the numbers of ImageNet's classes (ILSVRC 2012, alphabetical) that a person would accept for it.
IMAGENET_KINDS: dict[str, frozenset[int]] = {
    "trainer": frozenset({514, 630, 770, 774}),  # cowboy boot, loafer, running shoe, sandal
    "boot": frozenset({514, 630, 770}),
    "sandal": frozenset({502, 630, 774}),  # clog, loafer, sandal
    "mug": frozenset({504, 968}),  # coffee mug, cup
    "teapot": frozenset({505, 725, 849}),  # coffeepot, pitcher, teapot
    "bottle": frozenset({440, 720, 737, 898, 907}),  # beer, pill, pop, water, wine bottle
    "vase": frozenset({725, 883}),  # pitcher, vase
    "bowl": frozenset({659, 738, 809}),  # mixing bowl, pot, soup bowl
    "plant_pot": frozenset({738, 883}),
    "lamp": frozenset({619, 846}),  # lampshade, table lamp
    "chair": frozenset({423, 559, 765, 857}),  # barber, folding, rocking chair, throne
    "table": frozenset({526, 532, 736}),  # desk, dining table, pool table
    "sofa": frozenset({831}),  # studio couch
    "handbag": frozenset({414, 636, 748}),  # backpack, mailbag, purse
    "backpack": frozenset({414, 636}),
    "toy_car": frozenset({436, 468, 511, 609, 656, 661, 717, 751, 817}),  # wagon, cab, convertible, jeep, ...
    "boxed_goods": frozenset({478, 549, 692}),  # carton, envelope, packet
    "loudspeaker": frozenset({632}),
    "clock": frozenset({409, 530, 531, 892}),  # analog, digital, wall clock and watch
}
