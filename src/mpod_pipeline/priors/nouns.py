"""The words of a text prior's vocabulary that name things."""

from __future__ import annotations

from functools import cache

from timm.data.imagenet_info import ImageNetInfo
from transformers import CLIPTokenizer

#: Letters of a noun.
SHORTEST = 3


@cache
def names_of_things() -> frozenset[str]:
    """The last words of WordNet's names for ImageNet's 21,841 kinds: "mug" of "coffee mug"."""
    kinds = ImageNetInfo("imagenet22k").label_descriptions()
    return frozenset(name.split()[-1].lower() for names in kinds for name in names.split(", "))


def nouns_of(tokenizer: CLIPTokenizer) -> list[str]:
    """Those that are one token of a CLIP vocabulary, whose words end with ``</w>``; in alphabetical order.

    Without the shortest, which in a small vocabulary are letters and syllables.
    """
    words = (token.removesuffix("</w>") for token in tokenizer.get_vocab() if token.endswith("</w>"))
    return sorted(word for word in names_of_things().intersection(words) if len(word) >= SHORTEST)
