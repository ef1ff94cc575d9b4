"""The radiance field: hash encoding, density, colour, occupancy."""
