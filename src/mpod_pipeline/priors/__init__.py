"""Diffusion models, and what the method asks of them.

A *novel-view* prior (Zero-1-to-3's kind) knows what a photo's product looks like from elsewhere. A *text-to-image*
prior (Stable Diffusion's kind) knows what words look like. `loading` opens both from folders, full-size or small, in
diffusers' format. `sds` turns their answers into losses (Eq. 1), and `mrca` keeps the learned word within the outline
(Eq. 6-8). `train_*` trains the small ones, and `adapters` adds to any what it has learnt besides. All priors are frozen
while a product is made.
"""

from mpod_pipeline.priors.loading import load_mask_controlnet, load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.novel_view import NovelViewPrior
from mpod_pipeline.priors.text_to_image import TextToImagePrior

__all__ = [
    "NovelViewPrior",
    "TextToImagePrior",
    "load_mask_controlnet",
    "load_novel_view_prior",
    "load_text_to_image_prior",
]
