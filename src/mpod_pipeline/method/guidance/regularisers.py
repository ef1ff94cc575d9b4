"""What is known of any surface, as losses on what cameras see of it: RealFusion's, Make-It-3D's and Magic123's.

Normals are in [-1, 1], of the world. Magic123 has them in [0, 1]: its weights of blur and variation are four times
ours.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from mpod_pipeline.base.parameters import Parameters, Share
from mpod_pipeline.rendering.cameras import Cameras

#: A pixel shows the surface where opacity is above this.
SURFACE = 0.5
#: The blur of normals: pixels, and sigma; the share of 64 pixels that RealFusion's 9 and 1.7 are of 128.
BLUR, SIGMA = 5, 0.9
#: Fewer pixels than these say nothing of a correlation.
LEAST_PIXELS = 32


class RegulariserParameters(Parameters):
    """Factors of the losses, means over pixels; 0: absent. All are of novel views, except ``depth``: of the photo's."""

    entropy: NonNegativeFloat = Field(0.0, description="binary entropy of rays' opacity: all or nothing")
    entropy_ramp: Share = Field(0.0, description="of all steps, the first, over which that grows from nothing")
    opacity: NonNegativeFloat = Field(0.0, description="mean square of rays' opacity")
    orientation: NonNegativeFloat = Field(0.0, description="of normals that face away from the camera")
    normal_blur: NonNegativeFloat = Field(0.0, description="difference of the picture of normals from itself, blurred")
    normal_variation: NonNegativeFloat = Field(0.0, description="squared difference of neighbouring pixels' normals")
    depth: NonNegativeFloat = Field(0.0, description="1 - correlation of depths with what a depth network says")

    @property
    def normals_wanted(self) -> bool:
        return self.orientation + self.normal_blur + self.normal_variation > 0

    @property
    def wanted(self) -> bool:
        return self.normals_wanted or self.entropy + self.opacity > 0


def view_losses(
    opacity: Tensor, normals: Callable[[], Tensor], cameras: Cameras, p: RegulariserParameters, progress: float
) -> dict[str, Tensor]:
    """Of what novel views see: opacity [B, R, R]; ``normals`` gives those of the surface [B, R, R, 3], if wanted."""
    losses: dict[str, Tensor] = {}
    if p.entropy:
        grown = min(1.0, progress / p.entropy_ramp) if p.entropy_ramp else 1.0
        losses["entropy"] = p.entropy * grown * entropy(opacity)
    if p.opacity:
        losses["opacity"] = p.opacity * opacity.square().mean()
    if p.normals_wanted:
        seen = normals() * (opacity.detach() > SURFACE)[..., None]
        of_normals = {
            "orientation": (p.orientation, lambda: orientation(seen, cameras)),
            "normal_blur": (p.normal_blur, lambda: blur_change(seen)),
            "normal_variation": (p.normal_variation, lambda: variation(seen)),
        }
        losses |= {name: weight * loss() for name, (weight, loss) in of_normals.items() if weight}
    return losses


def entropy(opacity: Tensor) -> Tensor:
    """Mean binary entropy, in bits: 0 where each ray sees all or nothing."""
    seen = opacity.clamp(1e-5, 1 - 1e-5)
    return -(seen * seen.log2() + (1 - seen) * (1 - seen).log2()).mean()


def orientation(normals: Tensor, cameras: Cameras) -> Tensor:
    """Mean squared cosine between the viewing direction and normals [B, R, R, 3] that face away; 0 of any others."""
    _, directions = cameras.to(normals.device).rays(*normals.shape[1:3])
    return (normals * directions).sum(dim=-1).clamp_min(0).square().mean()


def blur_change(normals: Tensor) -> Tensor:
    """Mean squared difference of a picture of normals [B, R, R, 3] from itself, blurred; 0 for a plane."""
    picture = normals.permute(0, 3, 1, 2)
    return F.mse_loss(picture, gaussian_blur(picture.detach(), [BLUR, BLUR], [SIGMA, SIGMA]))


def variation(normals: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels [B, R, R, 3], down and across."""
    return normals.diff(dim=1).square().mean() + normals.diff(dim=2).square().mean()


def depth_disagreement(depth: Tensor, expected: Tensor, where: Tensor) -> Tensor | None:
    """1 - Pearson's correlation of depths with the expected ones, all [R, R]; scale and shift do not count. None of
    fewer than `LEAST_PIXELS`, or where either is constant.
    """
    if int(where.sum()) < LEAST_PIXELS:
        return None
    made, wanted = (values[where] - values[where].mean() for values in (depth, expected))
    spread = made.norm() * wanted.norm()
    return 1 - (made * wanted).sum() / spread if float(spread.detach()) > 1e-8 else None
