"""The outline's radiance field: hash encoding, a tiny network, a blob to start from (paper, section 3.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mpod_pipeline.base.parameters import Parameters, Symmetry
from mpod_pipeline.fields.hash_encoding import HashGridParameters, make_hash_encoding
from mpod_pipeline.fields.mlp import MLP, side_by_side
from mpod_pipeline.fields.stored import Stored, fill, read_or_told, read_stored
from mpod_pipeline.rendering.backend import Backend, choose_backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume import OccupancyGrid, VolumeImage, make_volume_renderer, render_image

#: Version of the files that are written here, and the kind of file.
FORMAT_VERSION, KIND = 6, "outline_field"

#: Of an exponential density: beyond, float32 is at its end, and a wall is a wall.
LARGEST_EXPONENT = 15.0

# Corners of a tetrahedron: the four directions in which `OutlineField.normals` looks.
_TETRAHEDRON = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


class OutlineFieldParameters(Parameters):
    """Shape and start of the radiance field. Lengths are world units, densities per world unit."""

    bound: float = Field(default=1.0, gt=0, description="half the edge of the box that the field fills")
    hash_grid: HashGridParameters = HashGridParameters()
    mlp_width: int = Field(default=32, ge=4, le=256, description="of the networks")
    activation: Literal["softplus", "exp"] = Field(default="softplus", description="what makes a density of a number")
    blob: Literal["cone", "gaussian"] = "cone"
    blob_scale: float = Field(default=10.0, ge=0, description="added at the centre to the density before activation")
    blob_radius: float = Field(
        default=0.5, gt=0, description="distance from the centre at which nothing is added; of a Gaussian, its sigma"
    )
    symmetry: Symmetry = Field(default="none", description="of the density; about the planes and the axis of x and y")
    occupancy_resolution: int = Field(default=32, ge=2, le=512)
    occupancy_threshold: float = Field(default=0.5, gt=0, description="a cell of this density is never skipped")
    occupancy_decay: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="what a cell keeps of the greatest density seen in it, at each further look",
    )


class OutlineField(nn.Module):
    """Density and albedo at every point of the box [-bound, bound]^3, whatever the direction of view.

    ``stretch`` [3] is what the axes of all that was learnt so far are multiplied by.

    Of every entry of the hash grid the first half of the features is the density's and the other the albedo's, and each
    has a network of its own: one photo says much of colours and little of depth, and with shared features a label that
    is learnt as a colour moves the surface under it.

    density = softplus(network + blob_scale * (1 - |x| / blob_radius)): a soft ball at the start, as Magic3D
    has it. (Or exp, and a Gaussian, as RealFusion has it.)
    """

    stretch: Tensor

    def __init__(
        self,
        settings: OutlineFieldParameters,
        backend: Backend | None = None,
        device: torch.device | str = "cpu",
        *,
        seed: int = 0,
    ) -> None:
        """The field at its start on a device, the same for the same seed. backend: see `choose_backend`.

        Raises SetupError where the backend does not work on the device, or its package or the device is absent.
        """
        super().__init__()
        self.settings = settings
        self.backend = choose_backend(backend, device)
        self.encoding = make_hash_encoding(settings.hash_grid, self.backend, seed=seed)
        inputs = self.encoding.output_dim // 2
        density, albedo = (MLP(inputs, outputs, settings.mlp_width, seed + i) for i, outputs in enumerate((1, 3)))
        self.network = nn.ModuleDict({"density": density, "albedo": albedo})
        feature = torch.arange(self.encoding.output_dim) % settings.hash_grid.features_per_level
        first_half = feature < settings.hash_grid.features_per_level // 2
        self.register_buffer("density_columns", first_half.nonzero()[:, 0], persistent=False)
        self.register_buffer("albedo_columns", (~first_half).nonzero()[:, 0], persistent=False)
        self.register_buffer("stretch", torch.ones(3))
        self._in_use: Tensor | None = None  # of the encoding's features, which count; None: all
        self.occupancy = OccupancyGrid(
            settings.occupancy_resolution, settings.bound, settings.occupancy_threshold, settings.occupancy_decay
        )
        self.to(device)

    @property
    def device(self) -> torch.device:
        return self.encoding.table.device

    def on(self, device: torch.device | str) -> OutlineField:
        """Itself, or a copy on another device by that device's backend. Raises SetupError where it is absent."""
        if self.device.type == torch.device(device).type:
            return self
        moved = OutlineField(self.settings, device=device)
        fill(moved._tensors(), self._tensors())
        return moved

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density [M] per world unit and albedo [M, 3] in [0, 1] at points [M, 3]. Differentiable once."""
        if self.settings.symmetry != "none":
            return self.density(points), self.colour(points)
        density, albedo = self._ask(points, "density", "albedo").split([1, 3], dim=1)
        return self._density(density[:, 0], points), torch.sigmoid(albedo)

    def density(self, points: Tensor) -> Tensor:
        """Density at points [M, 3], [M], per world unit."""
        return self._density(self._ask(folded(points, self.settings.symmetry), "density")[:, 0], points)

    def colour(self, points: Tensor) -> Tensor:
        """Albedo at points [M, 3], [M, 3] in [0, 1]."""
        return torch.sigmoid(self._ask(points, "albedo"))

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

    def _ask(self, points: Tensor, *names: str) -> Tensor:
        """What the named networks answer at points [M, 3], side by side: [M, sum of their outputs]."""
        encoded: Tensor = self.encoding((points / (self.settings.bound * self.stretch) + 1) / 2)
        if self._in_use is not None:
            encoded = encoded * self._in_use
        networks: list[tuple[Tensor, Tensor]] = []
        for name in names:
            network: Any = self.network[name]
            hidden = network.reading(getattr(self, f"{name}_columns"), self.encoding.output_dim)
            networks.append((hidden, network.output))
        return side_by_side(encoded, networks)

    def _density(self, raw: Tensor, points: Tensor) -> Tensor:
        distance = (points / self.stretch).norm(dim=-1) / self.settings.blob_radius
        shape = 1 - distance if self.settings.blob == "cone" else torch.exp(-0.5 * distance.square())
        total = raw + self.settings.blob_scale * shape
        return F.softplus(total) if self.settings.activation == "softplus" else total.clamp_max(LARGEST_EXPONENT).exp()

    def seen_by(self, cameras: Cameras, resolution: int, step_size: float, *, colours: bool = True) -> VolumeImage:
        """What cameras see of it, without gradients, in steps of so many world units. Without colours, theirs is 0."""

        def density_alone(points: Tensor) -> tuple[Tensor, Tensor]:
            return self.density(points), points.new_zeros(len(points), 1)

        look, renderer = self if colours else density_alone, make_volume_renderer(self.backend)
        return render_image(look, cameras.to(self.device), resolution, self.occupancy, renderer, step_size=step_size)

    def use_levels(self, count: int | None) -> None:
        """Let only so many of the hash grid's levels count, the coarsest; None: all."""
        if count is None:
            self._in_use = None
        else:
            feature = torch.arange(self.encoding.output_dim, device=self.device)
            self._in_use = (feature < count * self.settings.hash_grid.features_per_level).float()

    def stored(self) -> Stored:
        """The field as it is now, to be saved: all that is needed to render it again."""
        return Stored.of(KIND, FORMAT_VERSION, self.backend, self.settings, self._tensors())

    @classmethod
    def load(cls, path: Path) -> OutlineField:
        """Read what a stored field's `save` wrote, for the backend and the device that made it.

        Raises ProductError where the file is missing, damaged or of another version, SetupError as the constructor.
        """
        with read_or_told(f"outline field {path.name}", "optimise the outline again"):
            header, tensors = read_stored(path, KIND, FORMAT_VERSION)
            settings = OutlineFieldParameters.model_validate(header["settings"])
            field = cls(settings, header["backend"], header["device"])
            fill(field._tensors(), tensors)
        return field

    def _tensors(self) -> dict[str, Tensor]:
        networks = {
            f"{name}.{matrix}": getattr(network, matrix)
            for name, network in self.network.items()
            for matrix in ("hidden", "output")
        }
        occupancy = {f"occupancy.{name}": tensor for name, tensor in self.occupancy.state_dict().items()}
        return {"table": self.encoding.table, "stretch": self.stretch, **networks, **occupancy}


def folded(points: Tensor, symmetry: Symmetry) -> Tensor:
    """Points [M, 3] where a symmetric thing has all that it has: one of its halves, a quarter, or half a plane."""
    x, y, z = points.unbind(dim=-1)
    if symmetry == "revolution":
        return torch.stack([torch.hypot(x, y), torch.zeros_like(y), z], dim=-1)
    if symmetry in ("front_back", "both"):
        x = x.abs()
    if symmetry in ("left_right", "both"):
        y = y.abs()
    return torch.stack([x, y, z], dim=-1)
