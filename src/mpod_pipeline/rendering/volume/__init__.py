"""Volume rendering of a radiance field: marching through occupied cells and compositing (paper Eq. 3-5).

One interface, made by Numba on a CPU, by plain PyTorch anywhere, by nerfacc on CUDA.
"""

from mpod_pipeline.rendering.volume.interface import RaySamples, VolumeRender, VolumeRenderer, on_background
from mpod_pipeline.rendering.volume.occupancy import OccupancyGrid
from mpod_pipeline.rendering.volume.render import (
    Field,
    VolumeImage,
    draw_jitter,
    make_volume_renderer,
    render_image,
    render_rays,
)

__all__ = [
    "Field",
    "OccupancyGrid",
    "RaySamples",
    "VolumeImage",
    "VolumeRender",
    "VolumeRenderer",
    "draw_jitter",
    "make_volume_renderer",
    "on_background",
    "render_image",
    "render_rays",
]
