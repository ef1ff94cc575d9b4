"""What is said of a product at whose cutout somebody should look."""

CHECK = "check the cutout"
#: Its photo shows glass or gauze: the model will be a solid lump.
TRANSPARENT = "transparent: check"
