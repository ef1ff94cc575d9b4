"""Stable Diffusion as a prior for pictures of a prompt: full-size or our small one, from the same folder format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.threads import in_parts
from mpod_pipeline.priors.controlnet import MaskControl
from mpod_pipeline.priors.latents import GradientScale, LatentPrior, decode_latents
from mpod_pipeline.priors.mrca import TokenMask, rectifiable, rectified_attention
from mpod_pipeline.priors.networks import Recorded, dtype_of
from mpod_pipeline.priors.schedule import NoiseSchedule, denoise

#: The learned word for the product in the photo (textual inversion).
PLACEHOLDER = "<e>"


def view_words(azimuth_deg: float, elevation_deg: float) -> str:
    """How a sentence says where the camera was."""
    if elevation_deg > 45:
        return "view from above"
    turn = abs((azimuth_deg + 180) % 360 - 180)
    return "front view" if turn < 45 else "back view" if turn > 135 else "side view"


@dataclass(frozen=True)
class Prompt:
    """An encoded prompt and which of its columns belong to the learned token."""

    context: Tensor  # [1, L, D]
    token_columns: Tensor  # [L] bool: the placeholder's own column
    after_columns: Tensor  # [L] bool: the columns behind it, which a causal encoder lets know of it


class TextToImagePrior(LatentPrior):
    """The frozen prior."""

    def __init__(
        self,
        vae: AutoencoderKL,
        tokenizer: CLIPTokenizer,
        text_encoder: CLIPTextModel,
        unet: UNet2DConditionModel,
        schedule: NoiseSchedule,
    ) -> None:
        super().__init__(vae, unet, schedule)
        self.tokenizer, self.text_encoder = tokenizer, text_encoder
        rectifiable(unet)
        self._answer = Recorded(unet, self._ask)  # without a mask and a ControlNet, which a record would not know of
        self.requires_grad_(False).eval()

    @property
    def token_dim(self) -> int:
        """Width of a learned token."""
        return int(self.text_encoder.config.hidden_size)

    def word_embedding(self, word: str) -> Tensor:
        """The embedding [D] of a word that is one token. Raises SetupError for another."""
        ids = self.tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise SetupError(f"{word!r} is {len(ids)} tokens of this text prior; the initial word must be one.")
        return self.text_encoder.get_input_embeddings().weight[ids[0]].detach().clone()

    def encode_prompt(self, text: str, token: Tensor | None = None) -> Prompt:
        """Encode a text in which ``<e>`` may stand. Gradients flow to the token.

        The token is put into the sequence of embeddings, not into the vocabulary. So nothing of the prior changes from
        one product to the next.

        Args:
            text: The prompt.
            token: What each ``<e>`` in it stands for, [D].

        Returns:
            The context [1, L, D], and which of its columns belong to the token.
        """
        ids, is_token = self._ids(text)
        if PLACEHOLDER not in text:
            context = self.text_encoder(input_ids=ids[None]).last_hidden_state
        elif token is None:
            raise SetupError(f"The prompt {text!r} names {PLACEHOLDER} but no token was given.")
        else:
            context = self.encode_prompts([text], token[None])
        after = (is_token.cumsum(0) > 0) & ~is_token
        return Prompt(context, is_token, after)

    def encode_prompts(self, texts: Sequence[str], tokens: Tensor) -> Tensor:
        """Encode N texts at once. Gradients flow to the tokens.

        Args:
            texts: The prompts, in which ``<e>`` may stand.
            tokens: What ``<e>`` stands for: in each text its own [N, D], or one for all [1, D].

        Returns:
            The contexts [N, L, D].
        """
        if tokens.shape[1:] != (self.token_dim,):
            raise SetupError(
                f"The token has the shape {tuple(tokens.shape[1:])}; this prior's tokens have width {self.token_dim}."
            )
        ids, is_token = (torch.stack(rows) for rows in zip(*map(self._ids, texts), strict=True))
        embeddings = self.text_encoder.get_input_embeddings().weight[ids]  # [N, L, D]
        embeddings = torch.where(is_token[..., None], tokens.to(embeddings)[:, None], embeddings)
        return self._encode_embeddings(ids, embeddings)

    def _ids(self, text: str) -> tuple[Tensor, Tensor]:
        """Token ids [L] and where the placeholder is [L]; padded to the encoder's length."""
        parts = text.split(PLACEHOLDER)
        ids: list[int] = [self.tokenizer.bos_token_id]
        marks: list[bool] = [False]
        for i, part in enumerate(parts):
            if i:
                ids.append(self.tokenizer.eos_token_id)
                marks.append(True)
            words = self.tokenizer(part, add_special_tokens=False)["input_ids"] if part.strip() else []
            ids.extend(words)
            marks.extend([False] * len(words))
        length = int(self.text_encoder.config.max_position_embeddings)
        if any(marks[length - 1 :]):
            raise SetupError(f"The prompt is too long for this prior: {PLACEHOLDER} falls behind token {length}.")
        ids, marks = ids[: length - 1], marks[: length - 1]
        pad = self.tokenizer.pad_token_id
        rest = length - len(ids) - 1
        ids = [*ids, self.tokenizer.eos_token_id, *[pad] * rest]
        marks = [*marks, *[False] * (rest + 1)]
        return torch.tensor(ids, device=self.device), torch.tensor(marks, device=self.device)

    def _encode_embeddings(self, ids: Tensor, embeddings: Tensor) -> Tensor:
        """The text encoder over given input embeddings [B, L, D]."""
        layer = self.text_encoder.get_input_embeddings()
        with _replaced_output(layer, embeddings):
            return self.text_encoder(input_ids=ids).last_hidden_state

    def predict(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        prompts: Sequence[Prompt],
        unconditional: Prompt,
        guidance_scale: float,
        token_mask: TokenMask | None = None,
        control: MaskControl | None = None,
    ) -> Tensor:
        """The guided prediction [B, 4, h, w]; one prompt per latent, or one for all.

        ``token_mask`` rectifies the cross-attention of the conditional half (MRCA, Eq. 8); ``control`` is the ablation
        in its place.
        """
        context = torch.cat([p.context for p in prompts]).expand(len(noisy), -1, -1)
        nothing = unconditional.context.expand(len(noisy), -1, -1)
        asked = torch.cat([noisy, noisy]), torch.cat([timesteps, timesteps]), torch.cat([nothing, context])
        residuals = control.residuals(*asked) if control else {}
        with rectified_attention(self.unet, token_mask):
            both = self._unet(self._ask if token_mask or control else self._in_parts, *asked, **residuals)
        without, conditional = both.chunk(2)
        return without + guidance_scale * (conditional - without)

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[Prompt], unconditional: Prompt, *, steps: int, guidance_scale: float, seed: int
    ) -> Tensor:
        """Pictures of prompts, by DDIM.

        Args:
            prompts: N of them, as `encode_prompt` gives them.
            unconditional: The encoded empty prompt.
            steps: Of DDIM.
            guidance_scale: How firmly the prompt is heard; 1 is without guidance.
            seed: Equal seeds give equal pictures.

        Returns:
            [N, 3, H, W] in [0, 1], at the prior's own size.
        """
        side = int(self.unet.config.sample_size)
        shape = (len(prompts), int(self.unet.config.in_channels), side, side)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)

        def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
            return self.predict(noisy, timesteps, prompts, unconditional, guidance_scale)

        return decode_latents(self.vae, denoise(self.schedule, noise, predict, steps))

    def _unet(
        self, ask: Callable[..., Tensor], noisy: Tensor, timesteps: Tensor, context: Tensor, **residuals: Any
    ) -> Tensor:
        dtype = dtype_of(self.unet)
        return ask(noisy.to(dtype), timesteps, context.to(dtype), **residuals).float()

    def _ask(self, noisy: Tensor, timesteps: Tensor, context: Tensor, **residuals: Any) -> Tensor:
        answer: Tensor = self.unet(noisy, timesteps, encoder_hidden_states=context, **residuals).sample
        return answer

    def _in_parts(self, noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        return in_parts(self._answer, noisy, timesteps, context)

    def predict_unguided(self, noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """The plain prediction for contexts [B, L, D]; differentiable to the context (textual inversion)."""
        scale = GradientScale()
        return scale.enters(self._unet(self._in_parts, noisy, timesteps, scale.leaves(context)))


_REPLACING = Lock()


@contextmanager
def _replaced_output(layer: nn.Module, output: Tensor) -> Iterator[None]:
    """Let ``layer`` answer ``output`` for the moment: to one thread after another, as it has but one answer."""
    with _REPLACING:
        handle = layer.register_forward_hook(lambda *_: output)
        try:
            yield
        finally:
            handle.remove()
