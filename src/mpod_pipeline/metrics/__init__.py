"""Scores: against the photo, against a true shape where it is known, and of the views among themselves."""
