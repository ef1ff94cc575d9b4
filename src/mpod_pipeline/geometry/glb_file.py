"""A GLB's bytes that show themselves."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mpod_pipeline.base.errors import ProductError

if TYPE_CHECKING:  # the catalog reads these without NumPy and PyTorch
    from mpod_pipeline.geometry.glb import TexturedMesh

#: Pixels of a view in a notebook.
SHOWN = 256


class GlbFile(bytes):
    """The bytes of a GLB: at a prompt one line, in a notebook a picture of it from four sides.

    Example:
        >>> GlbFile(b"no model")
        <0.00 MB: The file is not a GLB that can be read (incorrect header on GLB file).>
    """

    def __repr__(self) -> str:
        size = f"{len(self) / 1e6:.2f} MB"
        try:
            return f"<GLB: {len(self._mesh().faces):,} triangles, {size}; .save(PATH) writes it>"
        except ProductError as error:
            return f"<{size}: {error}>"

    __str__ = __repr__

    def save(self, path: str | Path) -> None:
        """Write the file, for a viewer or Blender."""
        Path(path).write_bytes(self)

    def _repr_png_(self) -> bytes | None:
        import numpy as np
        from PIL import Image

        from mpod_pipeline.geometry.texture import draw
        from mpod_pipeline.rendering.cameras import Cameras
        from mpod_pipeline.rendering.shading import LIGHT_GREY

        try:
            mesh = self._mesh()
        except ProductError:
            return None
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        centred = (mesh.vertices - (low + high) / 2) * np.float32(1.2 / (high - low).max())
        cameras = Cameras.at([0.0, 90.0, 180.0, 270.0], 15.0)
        views = draw(replace(mesh, vertices=centred), cameras, SHOWN, LIGHT_GREY)[0]
        picture = (views.clamp(0, 1) * 255).round().byte().numpy()
        stream = io.BytesIO()
        Image.fromarray(np.concatenate(list(picture), axis=1)).save(stream, format="PNG")
        return stream.getvalue()

    def _mesh(self) -> TexturedMesh:
        from mpod_pipeline.geometry.foreign_glb import from_any_glb

        return from_any_glb(self)
