"""Coverage at silhouettes: where the mesh's outline passes between two pixel centres.

The idea is the analytic anti-aliasing of Laine et al. 2020 ("Modular primitives for high-performance differentiable
rendering", section 3.4). Of a pair of neighbouring pixels one is covered and one is not; the outline crosses the
segment between their centres at ``distance`` in [0, 1] from the covered one. If it crosses in the covered pixel's half,
that pixel loses ``0.5 - distance`` of its opacity; else the other gains ``distance - 0.5``. The pixels of a row then
sum to the exact position of the outline, and the derivative by that position is 1 whatever the triangles' size.

We look among all edges for the outermost crossing, not among those of the covered pixel's face: so small
triangles, whose outline belongs to a face that covers no pixel centre, give a gradient too. Pairs in a row
serve outlines steeper than 45 degrees, pairs in a column the others: an outline counts once, and the
crossing moves at most as fast as its vertices.
"""

# Numba infers the types of its kernels.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from math import ceil, floor

import numpy as np

from mpod_pipeline.base.compiled import njit
from mpod_pipeline.rendering.rasterize.zbuffer import JIT, NEAR, TILE

# A crossing found, as rows of two arrays: [pixel whose opacity changes, covered pixel, edge's start, edge's end, axis
# (0: the pair lies in a row)], and [change of opacity, position on the edge (0 start, 1 end), slope of the edge: its
# change along the pair's axis per change across, d opacity / d coordinate along the axis].
PIXEL, COVERED, START, END, AXIS = range(5)
CHANGE, POSITION, SLOPE, SIGN = range(4)


@njit(**JIT)
def _mark_tiles(face_index, top, bottom, tiles):
    """Mark the tiles [rows / TILE, W / TILE] with a pixel of which it or its right or lower neighbour is covered.

    Of a covered and an uncovered pixel the face numbers differ in their sign, and so their exclusive or is negative.
    """
    height, width = face_index.shape
    change = np.empty(width, face_index.dtype)
    for row in range(top, bottom):
        here, below = face_index[row], face_index[min(row + 1, height - 1)]
        change[width - 1] = here[width - 1] ^ below[width - 1]
        for column in range(width - 1):
            change[column] = (here[column] ^ below[column]) | (here[column] ^ here[column + 1])
        for tile in range(tiles.shape[1]):
            either = change[tile * TILE]
            for column in range(tile * TILE + 1, min(tile * TILE + TILE, width)):
                either |= change[column]
            if either < 0:
                tiles[(row - top) // TILE, tile] = True


@njit(**JIT)
def _number_pairs(face_index, top, bottom, pairs, tiles):
    """Number the pairs with one covered pixel: pairs [rows, W, 2] (with the right, the lower), else -1.

    Only in marked tiles; elsewhere ``pairs`` stays as it is. Returns their number.
    """
    height, width = face_index.shape
    count = 0
    for row in range(top, bottom):
        here, below = face_index[row], face_index[min(row + 1, height - 1)]
        for tile in range(tiles.shape[1]):
            if not tiles[(row - top) // TILE, tile]:
                continue
            for column in range(tile * TILE, min(tile * TILE + TILE, width)):
                covered = here[column] >= 0
                pairs[row - top, column] = -1
                if covered != (here[min(column + 1, width - 1)] >= 0):
                    pairs[row - top, column, 0] = count
                    count += 1
                if covered != (below[column] >= 0):
                    pairs[row - top, column, 1] = count
                    count += 1
    return count


@njit(inline="always", **JIT)
def _cross_edge(axis, p0, q0, p1, q1, a, b, face_index, top, bottom, pairs, tiles, edges, crossings):
    """Intersect an edge with the lines through pixel centres along an axis; keep a pair's outermost crossing.

    (p, q): pixel coordinates of the edge's ends along the axis and across it. edges [S, 2] and crossings
    [S, 3] (distance, position, slope) are per numbered pair.
    """
    if q0 == q1:
        return
    first_line, last_line = ceil(min(q0, q1) - 0.5), floor(max(q0, q1) - 0.5)
    slope = (p1 - p0) / (q1 - q0)
    for line in range(first_line, last_line + 1):
        position = (line + 0.5 - q0) / (q1 - q0)
        crossing = p0 + position * (p1 - p0) - 0.5
        before = floor(crossing)
        row, column = (line, before) if axis == 0 else (before, line)
        if row < top or row >= bottom or column < 0 or column >= face_index.shape[1]:
            continue
        if not tiles[(row - top) // TILE, column // TILE]:
            continue
        pair = pairs[row - top, column, axis]
        if pair < 0:
            continue
        fraction = crossing - before
        distance = fraction if face_index[row, column] >= 0 else 1.0 - fraction
        if distance > crossings[pair, 0]:
            crossings[pair, 0], crossings[pair, 1], crossings[pair, 2] = distance, position, slope
            edges[pair, 0], edges[pair, 1] = a, b


@njit(inline="always", **JIT)
def _has_pair(pairs, tiles, row_0, row_1, column_0, column_1):
    """Whether a box of pixels has a numbered pair; most boxes are told by their tiles."""
    for i in range(row_0 // TILE, row_1 // TILE + 1):
        for j in range(column_0 // TILE, column_1 // TILE + 1):
            if tiles[i, j]:
                for row in range(max(row_0, i * TILE), min(row_1, i * TILE + TILE - 1) + 1):
                    for column in range(max(column_0, j * TILE), min(column_1, j * TILE + TILE - 1) + 1):
                        if pairs[row, column, 0] >= 0 or pairs[row, column, 1] >= 0:
                            return True
    return False


@njit(**JIT)
def _cross_faces(points, faces, face_index, top, bottom, pairs, tiles, edges, crossings):
    """The outermost crossing of every numbered pair of rows [top, bottom), over the edges of all faces."""
    height, width = face_index.shape
    half_w, half_h = 0.5 * width, 0.5 * height
    x, y = np.empty(3), np.empty(3)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ya, yb, yc = points[a, 1], points[b, 1], points[c, 1]
        row_0 = max(top, floor((1.0 - max(ya, yb, yc)) * half_h - 0.5)) - top
        row_1 = min(bottom - 1, floor((1.0 - min(ya, yb, yc)) * half_h - 0.5)) - top
        if row_0 > row_1:
            continue
        xa, xb, xc = points[a, 0], points[b, 0], points[c, 0]
        column_0 = max(0, floor((1.0 + min(xa, xb, xc)) * half_w - 0.5))
        column_1 = min(width - 1, floor((1.0 + max(xa, xb, xc)) * half_w - 0.5))
        if not _has_pair(pairs, tiles, row_0, row_1, column_0, column_1):
            continue
        if min(points[a, 2], points[b, 2], points[c, 2]) < NEAR:
            continue
        x[0], x[1], x[2] = (1 + xa) * half_w, (1 + xb) * half_w, (1 + xc) * half_w
        y[0], y[1], y[2] = (1 - ya) * half_h, (1 - yb) * half_h, (1 - yc) * half_h
        for i in range(3):
            j = (i + 1) % 3
            u, v = faces[f, i], faces[f, j]
            _cross_edge(0, x[i], y[i], x[j], y[j], u, v, face_index, top, bottom, pairs, tiles, edges, crossings)
            _cross_edge(1, y[i], x[i], y[j], x[j], u, v, face_index, top, bottom, pairs, tiles, edges, crossings)


@njit(**JIT)
def _record(view, face_index, top, pairs, tiles, edges, crossings, integers, floats):
    """Turn the crossings of numbered pairs into records. PIXEL is -1 where there is nothing to blend."""
    height, width = face_index.shape
    for local_row in range(pairs.shape[0]):
        row = top + local_row
        for column in range(width):
            if not tiles[local_row // TILE, column // TILE]:
                continue
            for axis in range(2):
                pair = pairs[local_row, column, axis]
                if pair < 0:
                    continue
                integers[pair, PIXEL] = -1
                distance, slope = crossings[pair, 0], crossings[pair, 2]
                steep_enough = abs(slope) <= 1.0 if axis == 0 else abs(slope) < 1.0
                if distance < 0.0 or not steep_enough:
                    continue
                here = (view * height + row) * width + column
                there = here + 1 if axis == 0 else here + width
                covered_here = face_index[row, column] >= 0
                covered, uncovered = (here, there) if covered_here else (there, here)
                integers[pair, PIXEL] = uncovered if distance > 0.5 else covered
                integers[pair, COVERED] = covered
                integers[pair, START], integers[pair, END] = edges[pair, 0], edges[pair, 1]
                integers[pair, AXIS] = axis
                floats[pair, CHANGE] = distance - 0.5
                floats[pair, POSITION] = crossings[pair, 1]
                floats[pair, SLOPE] = slope
                floats[pair, SIGN] = 1.0 if covered_here else -1.0


@njit(**JIT)
def find_silhouettes(points, faces, face_index, view, top, bottom):
    """Records of the crossings in rows [top, bottom) of a view: integers [S, 5], floats [S, 4].

    points: [V, 3]. face_index: [H, W] of the whole view. Pixels are numbered through all views.
    """
    rows, width = bottom - top, face_index.shape[1]
    pairs = np.empty((rows, width, 2), np.int32)
    tiles = np.zeros(((rows + TILE - 1) // TILE, (width + TILE - 1) // TILE), np.bool_)
    _mark_tiles(face_index, top, bottom, tiles)
    count = _number_pairs(face_index, top, bottom, pairs, tiles)
    integers = np.empty((count, 5), np.int64)
    floats = np.empty((count, 4), np.float32)
    if count > 0:
        edges = np.empty((count, 2), np.int32)
        crossings = np.full((count, 3), -1.0)
        _cross_faces(points, faces, face_index, top, bottom, pairs, tiles, edges, crossings)
        _record(view, face_index, top, pairs, tiles, edges, crossings, integers, floats)
    return integers, floats


@njit(**JIT)
def blend(integers, floats, opacity, pictures):
    """Apply the records to hard opacity [B H W] and pictures [B H W, C], in place.

    A soft pixel outside takes the attributes of the first covered neighbour that reaches it; the records of
    the others get COVERED -1. Where several outlines share a pixel, opacity is held in [0, 1] and gets no
    gradient beyond it (SIGN 0).
    """
    for k in range(len(integers)):
        pixel, covered = integers[k, PIXEL], integers[k, COVERED]
        if pixel < 0:
            continue
        if pixel == covered or opacity[pixel] > 0.0:
            integers[k, COVERED] = -1
        else:
            pictures[pixel] = pictures[covered]
        opacity[pixel] += floats[k, CHANGE]
    for k in range(len(integers)):
        pixel = integers[k, PIXEL]
        if pixel >= 0 and (opacity[pixel] < 0.0 or opacity[pixel] > 1.0):
            floats[k, SIGN] = 0.0
    for k in range(len(integers)):
        pixel = integers[k, PIXEL]
        if pixel >= 0:
            opacity[pixel] = min(max(opacity[pixel], 0.0), 1.0)


@njit(**JIT)
def backward_blend(points, integers, floats, height, width, grad_opacity, grad_homogeneous):
    """Add what grad_opacity [B H W] wants of the outline's edges to grad_homogeneous [B, V, 3].

    That is the gradient by (x d, y d, d), of which points [B, V, 3] hold x, y (NDC) and the depth d.
    """
    for k in range(len(integers)):
        pixel = integers[k, PIXEL]
        if pixel < 0:
            continue
        gradient = grad_opacity[pixel] * floats[k, SIGN]
        if gradient == 0.0:
            continue
        view = pixel // (height * width)
        position, slope = floats[k, POSITION], floats[k, SLOPE]
        for end in range(2):
            vertex = integers[k, START + end]
            along = gradient * (position if end == 1 else 1.0 - position)
            across = -along * slope
            in_x, in_y = (along, across) if integers[k, AXIS] == 0 else (across, along)
            x, y, depth = points[view, vertex]
            by_x, by_y = in_x * 0.5 * width / depth, in_y * -0.5 * height / depth
            grad_homogeneous[view, vertex, 0] += by_x
            grad_homogeneous[view, vertex, 1] += by_y
            grad_homogeneous[view, vertex, 2] -= by_x * x + by_y * y
