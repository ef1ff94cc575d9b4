"""A road of two stages that cost nothing, run by the real hooks, settings and datasets."""
