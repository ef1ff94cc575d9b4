"""Catalogs of single product photos to textured 3D models, by the method of MPOD123 (CVPR 2024)."""

__version__ = "0.1.0"
