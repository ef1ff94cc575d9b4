"""A product being put together, and what its materials are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mpod_pipeline.synthesis.materials import PALETTE, PATTERNS, Decal, Material, jittered, label_picture
from mpod_pipeline.synthesis.solids import Part

Rng = np.random.Generator
WORDS = ("NOVA", "LUMA", "ORBIT", "KITE", "PINE", "ZEST", "AERO", "MOSS", "TIDE", "ECHO", "FERN", "BOLT")


@dataclass
class Draft:
    """A product being put together: its parts, its materials, and the words for them."""

    rng: Rng
    parts: list[Part] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def add(self, *parts: Part) -> None:
        self.parts.extend(parts)

    def material(self, colour: str | None = None, *, pattern: str = "plain", gloss: float = 0.1, **more: object) -> int:
        """A material of the given or a random colour; returns its index."""
        name = colour or self.colour()
        second = jittered(self.colour(but=name), self.rng) if pattern != "wood" else jittered("brown", self.rng)
        material = Material(
            jittered(name, self.rng),
            second,
            pattern,
            scale=self.uniform(3, 8),
            duty=self.uniform(0.35, 0.6),
            phase=self.uniform(0, 1),
            gloss=gloss,
            seed=int(self.rng.integers(1 << 20)),
            **more,  # type: ignore[arg-type]
        )
        self.materials.append(material)
        return len(self.materials) - 1

    def main_material(self, patterns: tuple[str, ...], *, round: bool = False, gloss: float = 0.1) -> int:
        """The material that a caption names: plain in a third of the cases."""
        pattern = "plain" if self.chance(0.35) else str(self.rng.choice(patterns))
        first = self.colour()
        second = self.colour(but=first)
        index = self.material(first, pattern=pattern, gloss=gloss, round=round)
        old = self.materials[index]
        if pattern != "wood":
            self.materials[index] = Material(**{**old.__dict__, "second": jittered(second, self.rng)})
        if pattern in ("plain", "wood", "fabric"):
            self.words += [first, *([PATTERNS[pattern]] if PATTERNS[pattern] else [])]
        else:
            self.words += [f"{first} and {second}", PATTERNS[pattern]]
        return index

    def colour(self, but: str = "") -> str:
        return str(self.rng.choice([name for name in PALETTE if name != but]))

    def label(self, material: int, centre: tuple[float, float], size: tuple[float, float]) -> str:
        """Stick a label with a word on the front of everything of ``material``; returns the word."""
        word = str(self.rng.choice(WORDS))
        paper, ink = self.colour(), self.colour()
        while np.abs(np.subtract(PALETTE[paper], PALETTE[ink])).sum() < 0.8:
            ink = self.colour()
        picture = label_picture(word, self.rng, PALETTE[paper], PALETTE[ink])
        old = self.materials[material]
        self.materials[material] = Material(**{**old.__dict__, "decals": (*old.decals, Decal(picture, centre, size))})
        return word


ROUND = ("bands", "stripes", "diagonal", "checks", "dots", "speckle", "gradient", "two_tone", "marble")
FLAT = ("bands", "stripes", "diagonal", "checks", "dots", "speckle", "gradient", "two_tone", "wood", "fabric")
CLOTH = ("bands", "stripes", "checks", "dots", "fabric", "two_tone")
