"""A pipeline of two steps that cost nothing, run by the real hooks, settings and datasets."""
