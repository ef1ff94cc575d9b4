"""Surfaces: triangle meshes, how a mesh comes out of a field, and how it becomes a file.

`mesh` has triangle meshes and their measures. `dmtet` is stage 2's shape: signed distances on a grid of `tetrahedra`,
from which `marching_tetrahedra` makes triangles. `texture` unwraps and bakes, `occlusion` bakes how much of its
surroundings a point sees, `glb` writes and reads our files, and `foreign_glb` reads those of others; `document` takes
any GLB apart. Lengths are world units, +z is up, and faces are counter-clockwise seen from outside.
"""
