"""What a mesh rasteriser returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Raster:
    """A mesh seen by B cameras. A picture is ``opacity * colour + (1 - opacity) * background``.

    attributes: interpolated vertex attributes, perspective-correct; differentiable in vertices and
        attributes. At a soft pixel outside the mesh they are those of the covered neighbour it blends with;
        elsewhere outside, 0.
    opacity: coverage in [0, 1], soft at silhouettes only; its gradient moves the vertices of the outline's
        edges.
    face_index: the face seen at the pixel's centre, -1 where there is none.
    depth: distance along the viewing direction at the pixel's centre, 0 outside. It has no gradient: hand in
        positions as attributes where one is wanted.
    """

    attributes: Tensor  # [B, H, W, C]
    opacity: Tensor  # [B, H, W]
    face_index: Tensor  # [B, H, W] int32
    depth: Tensor  # [B, H, W]
