"""Catalogs of single product photos to textured 3D models, by the method of MPOD123 (CVPR 2024)."""

import os

__version__ = "0.1.0"

# PyTorch's OpenMP threads wait by spinning, and each barrier then waits for a thread that other work keeps from its
# core: beside six busy processes a step took 80 times as long. OpenMP reads this once, when PyTorch is loaded.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
