"""Procedural products: closed meshes with materials and captions, and the studio that photographs them."""
