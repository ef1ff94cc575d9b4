"""What a tetrahedron's surface looks like, for each set of its vertices that are inside, and where it crosses edges."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def _cases() -> tuple[np.ndarray, np.ndarray]:
    """For each set of inside vertices (bit i: vertex i): an even order of the four, and how many are inside.

    In it the inside vertices come first; where three are inside, the outside one does.
    """
    even = [(0, 1, 2, 3), (1, 0, 3, 2), (2, 0, 1, 3), (3, 0, 2, 1)]
    even += [(0, 2, 3, 1), (0, 3, 1, 2), (1, 2, 0, 3), (1, 3, 2, 0), (2, 3, 0, 1)]
    orders, counts = np.zeros((16, 4), np.int32), np.zeros(16, np.int32)
    for case in range(1, 15):
        inside = {i for i in range(4) if case >> i & 1}
        first = inside if len(inside) < 3 else set(range(4)) - inside
        orders[case] = next(order for order in even if set(order[: len(first)]) == first)
        counts[case] = len(inside)
    return orders, counts


#: [16, 4] and [16].
ORDERS, COUNTS = _cases()


def crossings(vertices: Tensor, sdf: Tensor, edges: Tensor) -> Tensor:
    """Where the field sdf [V] is 0 on edges [E, 2] between vertices [V, 3]: [E, 3], differentiable in both."""
    a, b = edges.unbind(dim=1)
    at_a, at_b = sdf[a, None], sdf[b, None]
    return (vertices[a] * at_b - vertices[b] * at_a) / (at_b - at_a)
