"""Which methods there are. What each of them does, its preset says: ``methods.NAME`` in conf."""

from __future__ import annotations

#: The method whose outlines each method takes; its own name: it has outlines of its own.
OUTLINE_OF = {
    "mpod123": "mpod123",
    "stage1_only": "mpod123",
    "without_dai": "mpod123",
    "controlnet": "mpod123",
    "zero123_sds": "mpod123",
    "realfusion": "realfusion",
    "make_it_3d": "make_it_3d",
    "magic123": "magic123",
}
METHODS = tuple(OUTLINE_OF)
#: The method that the others are compared with, and whose outlines several have.
OURS = "mpod123"
#: The sections of settings that a method may have otherwise.
SECTIONS = ("outline", "masks", "detail", "export", "drawing", "evaluation")
