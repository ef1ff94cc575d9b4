"""Which face a pixel sees, and where in it: the kernels of one band of rows of one view.

``points`` [V, 3] are NDC x, NDC y, depth. Pixel coordinates grow right and down, centres at halves.
Arithmetic is float64 within a pixel, float32 in memory.
"""

# Numba infers the types of its kernels.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from math import ceil, floor

from numba import njit

#: Faces with a vertex nearer than this are dropped: they may reach behind the camera.
NEAR = 0.01
#: Barycentrics this far below 0 still count as inside, so that rounding opens no crack between neighbours.
INSIDE = -1e-9


@njit(nogil=True, cache=True)
def fill_zbuffer(points, faces, top, bottom, face_index, inverse_depth):
    """Nearest face at the pixel centres of rows [top, bottom). Buffers [H, W] come set to -1 and 0."""
    height, width = face_index.shape
    half_w, half_h = 0.5 * width, 0.5 * height
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        da, db, dc = points[a, 2], points[b, 2], points[c, 2]
        if da < NEAR or db < NEAR or dc < NEAR:
            continue
        ay, by, cy = (1 - points[a, 1]) * half_h, (1 - points[b, 1]) * half_h, (1 - points[c, 1]) * half_h
        row_0 = max(top, ceil(min(ay, by, cy) - 0.5))
        row_1 = min(bottom - 1, floor(max(ay, by, cy) - 0.5))
        if row_0 > row_1:
            continue
        ax, bx, cx = (1 + points[a, 0]) * half_w, (1 + points[b, 0]) * half_w, (1 + points[c, 0]) * half_w
        column_0 = max(0, ceil(min(ax, bx, cx) - 0.5))
        column_1 = min(width - 1, floor(max(ax, bx, cx) - 0.5))
        if column_0 > column_1:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        inverse_area = 1.0 / area
        wa, wb, wc = 1.0 / da, 1.0 / db, 1.0 / dc
        step_a, step_b = (by - cy) * inverse_area, (cy - ay) * inverse_area
        step_c = -step_a - step_b
        step_w = wa * step_a + wb * step_b + wc * step_c
        x = column_0 + 0.5
        for row in range(row_0, row_1 + 1):
            y = row + 0.5
            la = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse_area
            lb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse_area
            lc = 1.0 - la - lb
            w = wa * la + wb * lb + wc * lc
            for column in range(column_0, column_1 + 1):
                if la >= INSIDE and lb >= INSIDE and lc >= INSIDE and w > inverse_depth[row, column]:
                    inverse_depth[row, column] = w
                    face_index[row, column] = f
                la += step_a
                lb += step_b
                lc += step_c
                w += step_w


@njit(nogil=True, cache=True, inline="always")
def barycentrics(points, a, b, c, x, y):
    """Perspective-correct barycentrics of the pixel at NDC (x, y) in the face (a, b, c), and its depth."""
    ax, ay, bx, by = points[a, 0] - x, points[a, 1] - y, points[b, 0] - x, points[b, 1] - y
    cx, cy = points[c, 0] - x, points[c, 1] - y
    la = (bx * cy - by * cx) / points[a, 2]
    lb = (cx * ay - cy * ax) / points[b, 2]
    lc = (ax * by - ay * bx) / points[c, 2]
    scale = 1.0 / (la + lb + lc)
    la, lb, lc = la * scale, lb * scale, lc * scale
    return la, lb, lc, la * points[a, 2] + lb * points[b, 2] + lc * points[c, 2]
