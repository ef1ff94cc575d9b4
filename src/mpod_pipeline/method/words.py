"""What a product's learned word draws by itself: to be looked at, and measured against the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.method.cutouts import reference_view
from mpod_pipeline.metrics.encoders import ImageEncoder, score_name
from mpod_pipeline.metrics.similarity import semantic_similarity
from mpod_pipeline.priors.nouns import nouns_of
from mpod_pipeline.priors.text_to_image import PLACEHOLDER, TextToImagePrior, view_words

#: What is drawn, each twice: the plain word, then the sides that a sentence of stage 2 may name.
SENTENCE = f"A high-resolution DSLR image of {PLACEHOLDER}"
SENTENCES = (SENTENCE, *(f"{SENTENCE}, {view_words(azimuth, 0)}" for azimuth in (0, 90, 180)))
TIMES = 2
#: DDIM steps, and guidance.
STEPS, GUIDANCE = 8, 5.0
#: Nouns that stand for the words of other products. One of them may be the product's own kind.
OTHER_WORDS = 12
#: What is said of a product whose word's samples are, on average, no nearer to its photo than the second nearest of
#: these.
UNKNOWN = "the word does not know the product"


@dataclass(frozen=True)
class DrawnWord:
    """picture: the photo, then the samples, in rows of their sentences, [2 S, 5 S, 3]. check: the similarity of the
    samples to the photo, named by encoder, and ``flags``.
    """

    picture: NDArray[np.uint8]
    check: dict[str, float | str]


class WordDrawer:
    """Draws words with a prior, and knows how like a photo the words of other products are."""

    def __init__(self, prior: TextToImagePrior, encoder: ImageEncoder) -> None:
        self.prior, self.encoder = prior, encoder

    @cached_property
    def others(self) -> Tensor:
        """The embeddings of what other products' words draw, [N, D]."""
        nouns = nouns_of(self.prior.tokenizer)
        count = min(OTHER_WORDS, len(nouns))
        others = [nouns[i * len(nouns) // count] for i in range(count)]
        words = [self.prior.word_embedding(word) for word in others]
        return self.encoder.embed(self.samples(words, SENTENCES[:1]))

    @torch.no_grad()
    def samples(self, tokens: Sequence[Tensor], sentences: Sequence[str]) -> Tensor:
        """Pictures [tokens * sentences, 3, H, W] in [0, 1], of each token all sentences; the same noise each time."""
        prior = self.prior
        prompts = [prior.encode_prompt(s, token.to(prior.device)) for token in tokens for s in sentences]
        nothing = prior.encode_prompt("")
        return prior.sample(prompts, nothing, steps=STEPS, guidance_scale=GUIDANCE, seed=0).cpu()

    @torch.no_grad()
    def draw(self, cutout: NDArray[np.uint8], token: Tensor) -> DrawnWord:
        """What a token [D] draws beside its photo, a cutout [S, S, 4]."""
        photo = reference_view(cutout, self.prior.image_size).picture
        samples = self.samples([token], SENTENCES * TIMES)
        embeddings = self.encoder.embed(torch.cat([photo[None], samples]))
        similarity = float(semantic_similarity(embeddings[0], embeddings[1:]))
        others = torch.nn.functional.cosine_similarity(embeddings[:1], self.others)
        second = float(others.topk(min(2, len(others))).values[-1])
        return DrawnWord(
            beside(photo, samples),
            {score_name("word_similarity", self.encoder): similarity, "flags": UNKNOWN if similarity <= second else ""},
        )


def beside(photo: Tensor, samples: Tensor) -> NDArray[np.uint8]:
    """The photo [3, S, S], and its samples in `TIMES` rows to the right of it."""
    rows = samples.chunk(TIMES)
    first = [photo, *[torch.ones_like(photo)] * (TIMES - 1)]
    lines = [torch.cat([cell, *row], dim=2) for cell, row in zip(first, rows, strict=True)]
    return (torch.cat(lines, dim=1) * 255).round().byte().permute(1, 2, 0).numpy()
