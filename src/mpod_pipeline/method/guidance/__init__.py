"""What leads an optimisation beside the photo: each part once, whichever method and stage it serves.

`novel_view` and `text` ask the two priors by score distillation, `likeness` an image encoder, `photo_depth` a depth
network; `shading` is how a prior is shown a view, and `regularisers` are what is known of any surface.
"""
