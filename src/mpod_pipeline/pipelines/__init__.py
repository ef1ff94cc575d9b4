"""Kedro's floor: one folder per pipeline, and a pipeline for each step of the method."""
