"""Learn a word for the product in the photo (paper section 3.3; Gal et al. 2022, RealFusion's recipe)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torchvision.transforms import v2

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import NoiseRange, Parameters
from mpod_pipeline.base.report import Report
from mpod_pipeline.base.threads import threads
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.method.optimisation import LossPart, Optimisation
from mpod_pipeline.priors.networks import threads_for
from mpod_pipeline.priors.nouns import nouns_of
from mpod_pipeline.priors.text_to_image import PLACEHOLDER, TextToImagePrior, view_words

#: Sentences about an object, as textual inversion uses them, with the learned word in its place. Half of them say from
#: which side the photo is: the word need not mean it.
TEMPLATES = tuple(
    template.format(PLACEHOLDER) + view
    for template in (
        "a photo of a {}",
        "a rendering of a {}",
        "a close-up photo of a {}",
        "a product photo of a {}",
        "A high-resolution DSLR image of {}",
        "a {}",
    )
    for view in ("", ", {side}")
)
#: The search for the initial word asks each noun about the photo at the first of these noise levels, and so many best
#: of them at the others. Where so little of the picture is left, the word has most to say.
SEARCH_LEVELS, SHORT_LIST = (0.9, 0.8, 0.8, 0.9), 8
SEARCH_SENTENCE = f"a photo of a {PLACEHOLDER}, {view_words(0, 0)}"
#: Pictures at a time where no gradient is kept: they take no more memory than a few with gradients.
CHUNK = 16
#: Learning ends when the loss over all looks has not fallen by this share since they were gone through before.
LEAST_GAIN = 0.002


class TextualInversionParameters(Parameters):
    """How the word is learnt. Everything is frozen, except one embedding."""

    steps: PositiveInt = Field(32, description="at most")
    batch_size: PositiveInt = 4
    looks: PositiveInt = Field(32, description="at the photo, each with its own noise; they are used again and again")
    learning_rate: PositiveFloat = Field(0.3, description="as a share of the initial word's spread")
    weight_decay: float = Field(0.01, ge=0)
    initial_word: str | None = Field(
        None,
        description="one token of the prior's vocabulary to start from; null: the category, if it is a noun of the "
        "vocabulary; otherwise the noun under which the photo is denoised best",
    )
    category: str = Field("", description="what the product is, as the table's column of this name says it")
    noise: NoiseRange = Field(
        (0.5, 1.0), description="noise levels, fractions of the schedule; below, the picture says more than any word"
    )


@dataclass(frozen=True)
class Looks:
    """Looks at the photo under noise, and what the prior is to say of each. Any few of them in a row have noise levels
    from all over the range.
    """

    noisy: Tensor  # [N, 4, h, w]
    timesteps: Tensor  # [N]
    target: Tensor  # [N, 4, h, w]
    sentences: tuple[str, ...]  # N

    def __getitem__(self, chosen: slice) -> Looks:
        return Looks(self.noisy[chosen], self.timesteps[chosen], self.target[chosen], self.sentences[chosen])

    def __len__(self) -> int:
        return len(self.noisy)


def learn_token(
    cutouts: Cutouts,
    prior: TextToImagePrior,
    parameters: TextualInversionParameters,
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> Tensor:
    """Learn what ``<e>`` means for a product, from all of its photos (textual inversion).

    Args:
        cutouts: The product's photos, cut out.
        prior: The Stable Diffusion whose word it becomes. Its weights stay as they are.
        parameters: Steps, batch, noise levels and learning rate.
        seed: Equal seeds give equal words on one machine.
        report: Called after each step.
        checkpoint: Where the state is kept, for a killed run to go on from.

    Returns:
        The embedding of ``<e>``, [D] float32.

    Raises:
        ProductError: The optimisation diverges.
    """
    p = parameters
    generator = torch.Generator().manual_seed(seed)
    views = (reference_view(photo.picture, prior.image_size * 5 // 4) for photo in cutouts.photos)
    pictures = [view.picture.to(prior.device) for view in views]
    initial = prior.word_embedding(initial_word(pictures[0], prior, p, generator)).float()
    sides = [view_words(photo.azimuth_deg, 0) for photo in cutouts.photos]
    looks = looks_at(pictures, sides, prior, p, generator)
    token = torch.nn.Parameter(initial.clone())
    optimizer = torch.optim.AdamW([token], lr=p.learning_rate * float(initial.std()), weight_decay=p.weight_decay)
    batches = [looks[start : start + p.batch_size] for start in range(0, len(looks), p.batch_size)]

    def losses_of(step: int) -> list[LossPart]:
        batch = batches[step % len(batches)]
        return [partial(loss_part, some, len(some) / len(batch)) for some in shared_out(batch, prior.device)]

    def loss_part(some: Looks, share: float) -> dict[str, Tensor]:
        return {"loss": share * denoising_loss(prior, some, token)}

    def learnt(past: Sequence[dict[str, float]]) -> bool:
        return has_stopped_falling([losses["loss"] for losses in past], len(batches))

    module = torch.nn.ParameterList([token])
    optimisation = Optimisation("Learning the product's word", module, optimizer, generator, p.steps)
    with threads_for(prior):
        optimisation.run(losses_of, report, checkpoint, learnt)
    return token.detach().float().cpu()


def shared_out(looks: Looks, device: torch.device) -> list[Looks]:
    """The looks in as many parts as threads work on them."""
    parts = threads() if device.type == "cpu" else 1
    size = -(-len(looks) // parts)
    return [looks[start : start + size] for start in range(0, len(looks), size)]


def has_stopped_falling(losses: Sequence[float], round_length: int) -> bool:
    """Whether the last round over the same looks has lost less than `LEAST_GAIN` against the one before."""
    if len(losses) < 2 * round_length or len(losses) % round_length:
        return False
    last = sum(losses[-round_length:])
    before = sum(losses[-2 * round_length : -round_length])
    return last > (1 - LEAST_GAIN) * before


def looks_at(
    photos: Sequence[Tensor],
    sides: Sequence[str],
    prior: TextToImagePrior,
    p: TextualInversionParameters,
    generator: torch.Generator,
) -> Looks:
    """Random looks at the photos [3, R, R] in turn (see `augment`) under random noise and sentences. sides: what the
    prompts call them.
    """
    with torch.random.fork_rng(devices=[]):  # torchvision draws from PyTorch's global generator
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        pictures = torch.stack([augment(photos[i % len(photos)], prior.image_size) for i in range(p.looks)])
    drawn = torch.randint(len(TEMPLATES), (p.looks,), generator=generator).tolist()
    sentences = [TEMPLATES[template].format(side=sides[i % len(sides)]) for i, template in enumerate(drawn)]
    return noised(pictures, spread_levels(p.noise, p.looks), sentences, prior, generator)


@torch.no_grad()
def noised(
    pictures: Tensor,
    levels: Sequence[float],
    sentences: Sequence[str],
    prior: TextToImagePrior,
    generator: torch.Generator,
) -> Looks:
    """Pictures [N, 3, H, W] under noise of these levels, fractions of the schedule."""
    latents = torch.cat([prior.encode(some) for some in pictures.split(CHUNK)])
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    timesteps = torch.tensor([round(level * (len(prior.schedule) - 1)) for level in levels])
    timesteps = timesteps.to(latents.device)
    noisy = prior.schedule.add_noise(latents, noise, timesteps)
    return Looks(noisy, timesteps, prior.schedule.target(latents, noise, timesteps), tuple(sentences))


def spread_levels(noise: NoiseRange, count: int) -> list[float]:
    """Noise levels over a range: a Weyl sequence of the golden ratio, whose runs are all even."""
    low, high = noise
    return [low + (high - low) * ((0.5 + i * 0.5 * (5**0.5 - 1)) % 1) for i in range(count)]


def augment(picture: Tensor, size: int) -> Tensor:
    """A random look at the photo [3, R, R] on white: turned, cropped, jittered; [3, size, size] in [0, 1]."""
    steps = [
        v2.RandomApply([v2.RandomRotation(10, fill=1.0)], p=0.75),
        v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(0.9, 1.1), antialias=True),
        v2.RandomApply([v2.ColorJitter(0.04, 0.04, 0.04, 0.02)], p=0.75),
        v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.0))], p=0.1),
        v2.RandomHorizontalFlip(),
    ]
    return v2.Compose(steps)(picture).clamp(0, 1)  # type: ignore[no-any-return]


def denoising_loss(prior: TextToImagePrior, looks: Looks, token: Tensor) -> Tensor:
    """Stable Diffusion's training loss on looks under sentences about ``<e>``."""
    context = prior.encode_prompts(looks.sentences, token[None])
    prediction = prior.predict_unguided(looks.noisy, looks.timesteps, context)
    return (prediction - looks.target).square().mean()


def check_words(prior: TextToImagePrior, p: TextualInversionParameters) -> None:
    """Raises SetupError where there is no word to start from, or to compare with (see `words.WordDrawer`)."""
    if p.initial_word is not None:
        prior.word_embedding(p.initial_word)
    if not nouns_of(prior.tokenizer):
        raise SetupError(
            "This text prior's vocabulary has no English noun that is one token: a product's word has nothing to start "
            "from, nor to be compared with. Take a Stable Diffusion with CLIP's own tokenizer."
        )


def initial_word(
    picture: Tensor, prior: TextToImagePrior, p: TextualInversionParameters, generator: torch.Generator
) -> str:
    """The word to start from for a photo [3, R, R]: see `TextualInversionParameters.initial_word`.

    Raises SetupError as `check_words` does.
    """
    check_words(prior, p)
    if p.initial_word is not None:
        return p.initial_word
    nouns, category = nouns_of(prior.tokenizer), p.category.strip().lower()
    if category in nouns:
        return category
    photo = picture[None].expand(len(SEARCH_LEVELS), -1, -1, -1)
    looks = noised(photo, SEARCH_LEVELS, [SEARCH_SENTENCE] * len(photo), prior, generator)
    first = word_errors(prior, looks[:1], nouns)
    short_list = [nouns[i] for i in first.argsort()[:SHORT_LIST].tolist()]
    return short_list[int(word_errors(prior, looks, short_list).argmin())]


@torch.no_grad()
def word_errors(prior: TextToImagePrior, looks: Looks, words: Sequence[str]) -> Tensor:
    """How badly the prior denoises the looks when told each of N words, [N] on the CPU.

    Stable Diffusion as a classifier (Li et al. 2023): it tells words apart if all are asked under the same noise.
    """
    tokens = torch.stack([prior.word_embedding(word) for word in words])
    errors = torch.zeros(len(words))
    for i, sentence in enumerate(looks.sentences):
        look = looks[i : i + 1]
        for start in range(0, len(words), CHUNK):
            some = tokens[start : start + CHUNK]
            context = prior.encode_prompts([sentence] * len(some), some)
            noisy = look.noisy.expand(len(some), -1, -1, -1)
            prediction = prior.predict_unguided(noisy, look.timesteps.expand(len(some)), context)
            error = (prediction - look.target).square().flatten(1).mean(dim=1)
            errors[start : start + CHUNK] += error.cpu()
    return errors
