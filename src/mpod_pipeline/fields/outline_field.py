"""The outline's radiance field: hash encoding, a tiny network, a blob to start from (paper, section 3.1)."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from mpod_pipeline.errors import ProductError
from mpod_pipeline.fields.hash_encoding import HashGridParameters, make_hash_encoding
from mpod_pipeline.fields.mlp import make_mlp
from mpod_pipeline.fields.stored import Stored, fill, read_stored
from mpod_pipeline.parameters import Parameters
from mpod_pipeline.rendering.volume import Maker, OccupancyGrid

#: Version of the files that are written here, and the kind of file.
FORMAT_VERSION, KIND = 4, "outline_field"

# Corners of a tetrahedron: the four directions in which `OutlineField.normals` looks.
_TETRAHEDRON = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


class OutlineFieldParameters(Parameters):
    """Shape and start of the radiance field. Lengths are world units, densities per world unit."""

    bound: float = Field(default=1.0, gt=0, description="half the edge of the box that the field fills")
    hash_grid: HashGridParameters = HashGridParameters()
    mlp_width: int = Field(
        default=32, ge=4, le=256, description="of the networks; with the maker 'cuda' 16, 32, 64 or 128"
    )
    blob_scale: float = Field(
        default=10.0, ge=0, description="added at the centre to the density before softplus"
    )
    blob_radius: float = Field(
        default=0.5, gt=0, description="distance from the centre at which nothing is added"
    )
    occupancy_resolution: int = Field(default=32, ge=2, le=512)
    occupancy_threshold: float = Field(
        default=0.5, gt=0, description="a cell of this density is never skipped"
    )
    occupancy_decay: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="what a cell keeps of the greatest density seen in it, at each further look",
    )


class OutlineField(nn.Module):
    """Density and albedo at every point of the box [-bound, bound]^3, whatever the direction of view.

    Of every entry of the hash grid the first half of the features is the density's and the other the albedo's, and each
    has a network of its own: one photo says much of colours and little of depth, and with shared features a label that
    is learnt as a colour moves the surface under it.

    density = softplus(network + blob_scale * (1 - |x| / blob_radius)): a soft ball at the start, as Magic3D
    has it.
    """

    def __init__(self, settings: OutlineFieldParameters, maker: Maker = "cpu", *, seed: int = 0) -> None:
        """The field at its start, the same for the same seed, on the maker's device.

        Raises SetupError where the maker's package or device is absent.
        """
        super().__init__()
        self.settings = settings
        self.maker: Maker = maker
        self.encoding = make_hash_encoding(settings.hash_grid, maker, seed=seed)
        inputs = self.encoding.output_dim // 2
        self.network = nn.ModuleDict(
            {
                "density": make_mlp(inputs, 1, settings.mlp_width, maker, seed=seed),
                "albedo": make_mlp(inputs, 3, settings.mlp_width, maker, seed=seed + 1),
            }
        )
        self.occupancy = OccupancyGrid(
            settings.occupancy_resolution,
            settings.bound,
            settings.occupancy_threshold,
            settings.occupancy_decay,
        )
        self.to("cuda" if maker == "cuda" else "cpu")

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density [M] per world unit and albedo [M, 3] in [0, 1] at points [M, 3]. Differentiable once."""
        features = self._features(points)
        return self._density(features, points), self._albedo(features)

    def density(self, points: Tensor) -> Tensor:
        """Density at points [M, 3], [M], per world unit."""
        return self._density(self._features(points), points)

    def colour(self, points: Tensor) -> Tensor:
        """Albedo at points [M, 3], [M, 3] in [0, 1]."""
        return self._albedo(self._features(points))

    def normals(self, points: Tensor, step: float = 0.01) -> Tensor:
        """Unit vectors in which the density at points [M, 3] falls, [M, 3]; zero where it is flat.

        By finite differences at four more points each, `step` world units away along every axis, so that a loss on
        normals has a gradient to the field.
        """
        directions = torch.tensor(_TETRAHEDRON, device=points.device)  # [4, 3]
        around = (points[:, None] + step * directions).view(-1, 3)
        density = self.density(around).view(-1, 4)
        gradient = density @ directions / (4 * step)
        # The gradient of an unbounded normalisation would be infinite where the density is flat.
        return F.normalize(-gradient, dim=-1, eps=1e-3)

    def _features(self, points: Tensor) -> Tensor:
        """Of points [M, 3] the grid's features [M, levels, features per level]."""
        encoded: Tensor = self.encoding((points / self.settings.bound + 1) / 2)
        return encoded.view(len(points), -1, self.settings.hash_grid.features_per_level)

    def _density(self, features: Tensor, points: Tensor) -> Tensor:
        own = features[..., : features.shape[-1] // 2].flatten(1)
        blob = self.settings.blob_scale * (1 - points.norm(dim=-1) / self.settings.blob_radius)
        return F.softplus(self.network["density"](own)[:, 0] + blob)

    def _albedo(self, features: Tensor) -> Tensor:
        own = features[..., features.shape[-1] // 2 :].flatten(1)
        return torch.sigmoid(self.network["albedo"](own))

    def stored(self) -> Stored:
        """The field as it is now, to be saved: all that is needed to render it again."""
        return Stored.of(KIND, FORMAT_VERSION, self.maker, self.settings, self._tensors())

    @classmethod
    def load(cls, path: Path, maker: Maker | None = None) -> OutlineField:
        """Read what a stored field's `save` wrote, for the maker that made it or another.

        Raises ProductError where the file is missing, damaged or of another version, SetupError as the
        constructor.
        """
        try:
            header, tensors = read_stored(path, KIND, FORMAT_VERSION)
            field = cls(OutlineFieldParameters.model_validate(header["settings"]), maker or header["maker"])
            fill(field._tensors(), tensors)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise ProductError(
                f"The outline field {path.name} cannot be read ({error}); optimise the outline again."
            ) from error
        return field

    def _tensors(self) -> dict[str, Tensor]:
        networks = {
            f"{name}.{matrix}": getattr(network, matrix)
            for name, network in self.network.items()
            for matrix in ("hidden", "output")
        }
        occupancy = {f"occupancy.{name}": tensor for name, tensor in self.occupancy.state_dict().items()}
        return {"table": self.encoding.table, **networks, **occupancy}
