"""Each stage for a few steps on the full-size models' real layouts, in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from pydantic import ValidationError

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.detail import DetailParameters, FurtherGuides, refine_detail
from mpod_pipeline.method.masks import MaskParameters, OutlineMasks, export_masks
from mpod_pipeline.method.outline import OutlineParameters, optimize_outline
from mpod_pipeline.method.textual_inversion import TextualInversionParameters, learn_token
from mpod_pipeline.priors import TextToImagePrior, load_mask_controlnet, load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.controlnet import MaskControl
from tests.method.conftest import SMALL_FIELD
from tests.priors.layouts import save_controlnet, save_stable_diffusion_15, save_stable_diffusion_21, save_zero123


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full_size")
    save_stable_diffusion_15(folder / "sd15")
    save_stable_diffusion_21(folder / "sd21")
    save_zero123(folder / "zero123")
    return folder


@pytest.fixture(scope="module")
def sd15(folders: Path) -> TextToImagePrior:
    return load_text_to_image_prior(folders / "sd15", precision="float32")


@pytest.fixture(scope="module")
def controlnet(folders: Path, sd15: TextToImagePrior) -> ControlNetModel:
    return load_mask_controlnet(save_controlnet(folders / "controlnet", sd15.unet), sd15)


@pytest.fixture(scope="module")
def outline(folders: Path) -> tuple[OutlineField, OutlineMasks]:
    field = OutlineField(SMALL_FIELD, seed=0)
    field.occupancy.update(0, field.density, generator=torch.Generator().manual_seed(0))
    return field, export_masks(field, MaskParameters(azimuths=4, elevations_deg=(0.0,), resolution=32))


@pytest.mark.parametrize(("version", "width"), [("sd15", 768), ("sd21", 1024)])
def test_a_token_is_learnt_through_the_real_text_encoders(
    version: str, width: int, folders: Path, cutouts: Cutouts
) -> None:
    prior = load_text_to_image_prior(folders / version, precision="float32")
    token = learn_token(cutouts, prior, TextualInversionParameters(steps=2, batch_size=1), 0, lambda *_: None)
    assert token.shape == (width,) and token.isfinite().all()
    assert not torch.equal(token, prior.word_embedding("a"))


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("absolute", [False, True], ids=["zero123-xl", "stable-zero123"])
def test_an_outline_is_led_by_either_zero123(absolute: bool, precision: str, folders: Path, cutouts: Cutouts) -> None:
    prior = load_novel_view_prior(
        folders / "zero123",
        precision=precision,  # type: ignore[arg-type]
        absolute_elevation=absolute,
    )
    p = OutlineParameters(steps=3, field=SMALL_FIELD, resolutions=(16,), novel_views=1, cavities=None)
    seen: list[dict[str, float]] = []
    field = optimize_outline(cutouts, prior, p, 0, lambda step, steps, losses: seen.append(losses)).field
    assert len(seen) == 3 and all(np.isfinite(list(losses.values())).all() for losses in seen)
    assert all(losses["sds"] > 0 for losses in seen)
    assert not torch.equal(field.encoding.table, OutlineField(SMALL_FIELD, seed=0).encoding.table)


@pytest.mark.parametrize("guidance", ["mrca", "controlnet", "none"])
def test_details_are_refined_under_each_guidance_by_the_mask(
    guidance: str,
    sd15: TextToImagePrior,
    controlnet: ControlNetModel,
    outline: tuple[OutlineField, OutlineMasks],
    cutouts: Cutouts,
) -> None:
    field, masks = outline
    p = DetailParameters(
        steps=2,
        grid_resolution=12,
        resolution=32,
        mask_guidance=guidance,
        controlnet=Path("controlnet") if guidance == "controlnet" else None,
    )
    refined = refine_detail(
        cutouts,
        torch.randn(768),
        field,
        masks,
        sd15,
        p,
        0,
        lambda *_: None,
        further=FurtherGuides(controlnet=controlnet if guidance == "controlnet" else None),
    )
    assert refined.vertices.isfinite().all() and len(refined.faces) > 50


def test_the_controlled_prediction_is_what_diffusers_own_pipeline_makes(
    folders: Path, sd15: TextToImagePrior, controlnet: ControlNetModel
) -> None:
    pipe = StableDiffusionControlNetPipeline.from_pretrained(
        folders / "sd15", controlnet=controlnet, safety_checker=None, torch_dtype=torch.float32
    )
    mask = (torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    control = MaskControl.of(controlnet, mask, sd15.image_size)
    assert control.picture.shape == (1, 3, 64, 64) and set(control.picture.unique().tolist()) == {0.0, 1.0}
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs: list[torch.Tensor] = []
    unet_forward = pipe.unet.forward

    def spy(*args: object, **kwargs: object) -> object:
        theirs.append(unet_forward(*args, **kwargs)[0])
        return (theirs[-1],)

    pipe.unet.forward = spy
    pipe.set_progress_bar_config(disable=True)
    pipe(
        "a photo of a lamp",
        image=control.picture,
        num_inference_steps=1,
        guidance_scale=2.0,
        latents=noise,
        output_type="latent",
    )
    with torch.no_grad():
        prompt, nothing = sd15.encode_prompt("a photo of a lamp"), sd15.encode_prompt("")
        t = pipe.scheduler.timesteps[:1]
        plain = sd15.predict(noise, t, [prompt], nothing, 2.0)
        ours = sd15.predict(noise, t, [prompt], nothing, 2.0, control=control)
    without, conditional = theirs[0].chunk(2)
    torch.testing.assert_close(ours, without + 2.0 * (conditional - without), atol=1e-3, rtol=1e-3)
    assert (ours - plain).abs().max() > 0.05  # the mask is not ignored


def test_a_controlnet_has_to_be_named_and_to_fit(folders: Path, sd15: TextToImagePrior) -> None:
    with pytest.raises(ValidationError, match="set controlnet to their folder"):
        DetailParameters(mask_guidance="controlnet")
    with pytest.raises(SetupError, match=r"detail\.controlnet"):
        load_mask_controlnet(folders / "nothing", sd15)
    sd21 = load_text_to_image_prior(folders / "sd21", precision="float32")
    with pytest.raises(SetupError, match="does not fit"):
        load_mask_controlnet(save_controlnet(folders / "controlnet21", sd21.unet), sd15)
