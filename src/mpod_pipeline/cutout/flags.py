"""What is said of a product at whose cutout somebody should look."""

CHECK = "check the cutout"
#: Its photo shows glass or gauze: the model will be a solid lump.
TRANSPARENT = "transparent: check"
#: They seem to have each other's names.
SWAPPED_SIDES = "the photos left and right look swapped"
