"""How different colours look: CIEDE2000."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

#: sRGB's primaries as CIE XYZ, and its white (D65).
_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)


def srgb_to_lab(colours: Tensor) -> Tensor:
    """Turn sRGB into CIE L*a*b* (D65).

    Args:
        colours: [..., 3] in [0, 1].

    Returns:
        [..., 3] float64: L* in [0, 100], a* towards red, b* towards yellow.

    Example:
        >>> srgb_to_lab(torch.zeros(3)).abs().max().item() < 1e-6
        True
    """
    colours = colours.double()
    linear = torch.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = linear @ colours.new_tensor(_TO_XYZ).T / colours.new_tensor(_WHITE)
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-12) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def ciede2000(one: Tensor, other: Tensor) -> Tensor:
    """How different colours look. About 1 is just seen, side by side.

    Source: Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test
    data, and mathematical observations" (2005). The numbers in the comments are its equations.

    Args:
        one: L*a*b* colours [..., 3], as `srgb_to_lab` gives them.
        other: As many.

    Returns:
        The differences, [...].

    Example:
        >>> black, white = srgb_to_lab(torch.zeros(3)), srgb_to_lab(torch.ones(3))
        >>> round(ciede2000(black, white).item())
        100
    """
    (l1, a1, b1), (l2, a2, b2) = one.double().unbind(-1), other.double().unbind(-1)
    chroma = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    g = (1 - (chroma**7 / (chroma**7 + 25.0**7)).sqrt()) / 2  # (4)
    a1, a2 = (1 + g) * a1, (1 + g) * a2  # (5)
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)  # (6)
    h1, h2 = (torch.atan2(b, a) % (2 * pi) for a, b in ((a1, b1), (a2, b2)))  # (7)
    grey = c1 * c2 == 0
    dh = torch.where(grey, 0.0, (h2 - h1 + pi) % (2 * pi) - pi)  # (10)
    d_hue = 2 * (c1 * c2).sqrt() * (dh / 2).sin()  # (11)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2  # (12), (13)
    far = (h1 - h2).abs() > pi
    mean = (h1 + h2) / 2 + torch.where(far, torch.where(h1 + h2 < 2 * pi, pi, -pi), 0.0)
    hue = torch.where(grey, h1 + h2, mean)  # (14)
    # (15)
    t = (
        1
        - 0.17 * (hue - pi / 6).cos()
        + 0.24 * (2 * hue).cos()
        + 0.32 * (3 * hue + pi / 30).cos()
        - 0.20 * (4 * hue - 63 * pi / 180).cos()
    )
    turn = (pi / 3) * (-(((hue * 180 / pi - 275) / 25) ** 2)).exp()  # 2 (16)
    s_l = 1 + 0.015 * (light - 50) ** 2 / (20 + (light - 50) ** 2).sqrt()  # (18)
    s_c, s_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t  # (19), (20)
    r_t = -2 * (chroma**7 / (chroma**7 + 25.0**7)).sqrt() * turn.sin()  # (17), (21)
    d_l, d_c, d_h = (l2 - l1) / s_l, (c2 - c1) / s_c, d_hue / s_h
    return (d_l**2 + d_c**2 + d_h**2 + r_t * d_c * d_h).clamp_min(0).sqrt()  # (22)
