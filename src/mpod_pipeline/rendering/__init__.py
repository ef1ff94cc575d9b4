"""Cameras, and what they see: of a field (`volume`) and of a mesh (`rasterize`), by one of the backends."""
