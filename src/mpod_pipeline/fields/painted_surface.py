"""A surface and the field that paints it: what stage 2 makes, before it gets UVs and a texture. Or its points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mpod_pipeline.fields.outline_field import OutlineField, OutlineFieldParameters
from mpod_pipeline.fields.point_cloud import PointCloud
from mpod_pipeline.fields.stored import Stored, fill, read_or_told, read_stored

FORMAT_VERSION = 2
KIND = "painted_surface"
#: What the names of the points' tensors begin with.
POINTS = "points."


@dataclass(frozen=True)
class PaintedSurface:
    """vertices: [V, 3] float, world units. faces: [F, 3] int64. texture: its albedo colours the surface. points: the
    model, where stage 2 refines points; the surface is the outline's then.
    """

    vertices: Tensor
    faces: Tensor
    texture: OutlineField
    points: PointCloud | None = None

    def stored(self) -> Stored:
        """The surface, to be saved; of the texture only what colours take, its table in half precision."""
        colours = _colours(self.texture)
        tensors = {
            "vertices": self.vertices.float(),
            "faces": self.faces.int(),
            **colours,
            "table": colours["table"].half(),
        }
        if self.points:
            tensors |= {POINTS + name: tensor for name, tensor in self.points.state_dict().items()}
        return Stored.of(KIND, FORMAT_VERSION, self.texture.backend, self.texture.settings, tensors)

    @classmethod
    def load(cls, path: Path) -> PaintedSurface:
        """Read what a stored surface's `save` wrote, for the backend and the device that made it.

        Raises ProductError where the file is missing, damaged or of another version, SetupError as `OutlineField`.
        """
        with read_or_told(f"detail model {path.name}", "refine the details again"):
            header, tensors = read_stored(path, KIND, FORMAT_VERSION)
            settings = OutlineFieldParameters.model_validate(header["settings"])
            texture = OutlineField(settings, header["backend"], header["device"])
            fill(_colours(texture), tensors)
            device = texture.encoding.table.device
            state = {n.removeprefix(POINTS): each.to(device) for n, each in tensors.items() if n.startswith(POINTS)}
            points = PointCloud.of_state(state) if state else None
            return cls(tensors["vertices"].to(device), tensors["faces"].long().to(device), texture, points)


def _colours(texture: OutlineField) -> dict[str, Tensor]:
    """What the albedo depends on: its half of the table's features, and its network's two matrices."""
    table, network = texture.encoding.table, texture.network["albedo"]
    matrices = {name: getattr(network, name) for name in ("hidden", "output")}
    return {"table": table[:, table.shape[1] // 2 :], **matrices}
