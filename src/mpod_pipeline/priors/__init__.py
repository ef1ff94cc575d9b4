"""Diffusion models and what is asked of them: loading, SDS, Zero-1-to-3, Stable Diffusion, MRCA."""

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
