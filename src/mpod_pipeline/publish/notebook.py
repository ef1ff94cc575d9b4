"""A model to be turned by hand in a notebook."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from importlib.resources import files

VIEWER = "model-viewer-umd.min.js"
#: The frame's own page. It loads nothing from elsewhere, and no script of it reaches the notebook.
_PAGE = """<!doctype html><meta charset="utf-8">
<style>html, body, model-viewer {{ margin: 0; width: 100%; height: 100%; background: #fff }}</style>
<script>{viewer}</script>
<model-viewer id="model" src="data:model/gltf-binary;base64,{glb}" camera-controls camera-orbit="0deg 75deg auto"
  shadow-intensity="1" tone-mapping="neutral" interaction-prompt="none" alt="The model, to be turned"></model-viewer>
"""


@dataclass(frozen=True)
class ModelView:
    """Shows a GLB, at a notebook's cell, in ``<model-viewer>``. height: pixels."""

    glb: bytes
    height: int = 480

    def page(self) -> str:
        """The frame's page: whole in itself, some 1 MB and a third more than the GLB."""
        viewer = (files(__package__) / "page" / VIEWER).read_text(encoding="utf-8")
        return _PAGE.format(viewer=viewer, glb=base64.b64encode(self.glb).decode())

    def _repr_html_(self) -> str:
        page = escape(self.page(), quote=True)
        frame = (
            f'<iframe sandbox="allow-scripts" width="100%" height="{self.height}" style="border: 0" srcdoc="{page}">'
        )
        return f"{frame}</iframe>"
