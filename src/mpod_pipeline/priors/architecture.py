"""The small family: the shapes of the networks that we train and ship, in diffusers' and transformers' own classes."""

from __future__ import annotations

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from pydantic import Field, PositiveInt
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.priors.camera_projection import CLIPCameraProjection

#: Numbers that say where the camera went (see `relative_pose`).
POSE_DIM = 4


class ArchitectureParameters(Parameters):
    """Widths of the small family. Pictures are ``image_size`` pixels square, latents a quarter of it."""

    image_size: PositiveInt = 128
    latent_channels: PositiveInt = 4
    autoencoder_channels: tuple[int, ...] = (16, 48, 96)
    unet_channels: tuple[int, ...] = (32, 64, 128, 192)
    attention_heads: PositiveInt = 4
    context_dim: PositiveInt = Field(192, description="width of text and image tokens (the U-Net's cross-attention)")
    text_layers: PositiveInt = 3
    text_length: PositiveInt = 32
    image_layers: PositiveInt = 3
    patch_size: PositiveInt = 16


def make_autoencoder(p: ArchitectureParameters) -> AutoencoderKL:
    levels = len(p.autoencoder_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=p.autoencoder_channels,
        layers_per_block=1,
        latent_channels=p.latent_channels,
        norm_num_groups=8,
        sample_size=p.image_size,
        mid_block_add_attention=False,
    )


def make_unet(p: ArchitectureParameters, in_channels: int, pose_dim: int | None = None) -> UNet2DConditionModel:
    """A thin level at the latents' own size, which only convolves; below it self- and cross-attention at each.

    With a ``pose_dim`` the pose is embedded as the timestep is, and joined to it.
    ``attention_head_dim`` is the *number* of heads in this class, whatever its name says.
    """
    attending = len(p.unet_channels) - 1
    return UNet2DConditionModel(
        sample_size=p.image_size // 2 ** (len(p.autoencoder_channels) - 1),
        in_channels=in_channels,
        out_channels=p.latent_channels,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * attending,
        up_block_types=("CrossAttnUpBlock2D",) * attending + ("UpBlock2D",),
        block_out_channels=p.unet_channels,
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=p.context_dim,
        attention_head_dim=p.attention_heads,
        class_embed_type=None if pose_dim is None else "projection",
        projection_class_embeddings_input_dim=pose_dim,
    )


def make_text_encoder(p: ArchitectureParameters, vocabulary: int, bos: int, eos: int) -> CLIPTextModel:
    text = {"vocab_size": vocabulary, "max_position_embeddings": p.text_length, "num_hidden_layers": p.text_layers}
    ends = {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": eos}
    return CLIPTextModel(CLIPTextConfig(**_transformer(p), **text, **ends))


def make_image_encoder(p: ArchitectureParameters) -> CLIPVisionModelWithProjection:
    image = {"image_size": p.image_size, "patch_size": p.patch_size, "num_hidden_layers": p.image_layers}
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**_transformer(p), **image))


def _transformer(p: ArchitectureParameters) -> dict[str, int]:
    """What both encoders have in common."""
    widths = {"hidden_size": p.context_dim, "intermediate_size": 2 * p.context_dim, "projection_dim": p.context_dim}
    return {**widths, "num_attention_heads": p.attention_heads}


def make_camera_projection(p: ArchitectureParameters) -> CLIPCameraProjection:
    patches = (p.image_size // p.patch_size) ** 2
    return CLIPCameraProjection(p.context_dim, additional_embeddings=POSE_DIM, num_tokens=patches)


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise, predicting v: well behaved at high noise, where a novel view's structure is decided.

    It is rescaled so that its last timestep is noise alone, where sampling starts (S. Lin et al., Common Diffusion
    Noise Schedules and Sample Steps are Flawed, WACV 2024). Otherwise a trace of the picture stays there. A network
    reads in it how much is white, and pure noise misleads it.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
