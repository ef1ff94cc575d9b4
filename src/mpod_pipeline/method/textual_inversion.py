"""Learn a word for the product in the photo (paper section 3.3; Gal et al. 2022, RealFusion's recipe)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torchvision.transforms import v2

from mpod_pipeline.checkpoint import Checkpoint
from mpod_pipeline.method.cutouts import reference_view
from mpod_pipeline.method.optimisation import Optimisation
from mpod_pipeline.parameters import NoiseRange, Parameters
from mpod_pipeline.priors.text_to_image import PLACEHOLDER, TextToImagePrior
from mpod_pipeline.report import Report

#: Sentences about an object, as textual inversion uses them, with the learned word in its place.
TEMPLATES = tuple(
    template.format(PLACEHOLDER)
    for template in (
        "a photo of a {}",
        "a rendering of a {}",
        "a picture of a {}",
        "a close-up photo of a {}",
        "a good photo of a {}",
        "a product photo of a {}",
        "A high-resolution DSLR image of {}",
        "a {}",
    )
)


class TextualInversionParameters(Parameters):
    """Everything but one embedding is frozen."""

    steps: PositiveInt = 40
    batch_size: PositiveInt = 4
    learning_rate: PositiveFloat = 0.02
    weight_decay: float = Field(0.01, ge=0)
    initial_word: str = Field("a", description="one token of the prior's vocabulary to start from")
    noise: NoiseRange = Field((0.1, 0.95), description="noise levels, fractions of the schedule")


def learn_token(
    cutout: NDArray[np.uint8],
    prior: TextToImagePrior,
    parameters: TextualInversionParameters,
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> Tensor:
    """The embedding [D] (float32) of ``<e>`` for a cutout [S, S, 4].

    Raises ProductError where the optimisation diverges.
    """
    p = parameters
    generator = torch.Generator().manual_seed(seed)
    initial = prior.word_embedding(p.initial_word).float()
    token = torch.nn.Parameter(initial.clone())
    optimizer = torch.optim.AdamW(
        [token], lr=p.learning_rate * float(initial.std()), weight_decay=p.weight_decay
    )
    picture = reference_view(cutout, prior.image_size * 5 // 4).picture.to(prior.device)

    def losses_of(step: int) -> dict[str, Tensor]:
        pictures = looks_at(picture, prior.image_size, p.batch_size, generator)
        return {"loss": denoising_loss(prior, pictures, token, p, generator)}

    learnt = torch.nn.ParameterList([token])
    optimisation = Optimisation("Learning the product's word", learnt, optimizer, generator, p.steps)
    optimisation.run(losses_of, report, checkpoint)
    return token.detach().float().cpu()


def looks_at(picture: Tensor, size: int, count: int, generator: torch.Generator) -> Tensor:
    """Random looks [count, 3, size, size] at the photo [3, R, R]: see `augment`."""
    with torch.random.fork_rng(devices=[]):  # torchvision draws from PyTorch's global generator
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        return torch.stack([augment(picture, size) for _ in range(count)])


def augment(picture: Tensor, size: int) -> Tensor:
    """A random look at the photo [3, R, R] on white: turned, cropped, jittered; [3, size, size] in [0, 1]."""
    look = v2.Compose(
        [
            v2.RandomApply([v2.RandomRotation(10, fill=1.0)], p=0.75),
            v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(0.9, 1.1), antialias=True),
            v2.RandomApply([v2.ColorJitter(0.04, 0.04, 0.04, 0.02)], p=0.75),
            v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.0))], p=0.1),
            v2.RandomHorizontalFlip(),
        ]
    )
    return look(picture).clamp(0, 1)  # type: ignore[no-any-return]


def denoising_loss(
    prior: TextToImagePrior,
    pictures: Tensor,
    token: Tensor,
    p: TextualInversionParameters,
    generator: torch.Generator,
) -> Tensor:
    """Stable Diffusion's training loss on pictures [B, 3, H, W] under sentences about ``<e>``."""
    with torch.no_grad():
        latents = prior.encode(pictures)
    low, high = (round(level * (len(prior.schedule) - 1)) for level in p.noise)
    timesteps = torch.randint(low, high + 1, (len(latents),), generator=generator).to(prior.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    noisy = prior.schedule.add_noise(latents, noise, timesteps)
    sentences = torch.randint(len(TEMPLATES), (len(latents),), generator=generator)
    context = torch.cat([prior.encode_prompt(TEMPLATES[i], token).context for i in sentences.tolist()])
    prediction = prior.predict_unguided(noisy, timesteps, context)
    return (prediction - prior.schedule.target(latents, noise, timesteps)).square().mean()
