"""What each choice of the method does, on products that no prior was trained on, with their true shapes.

    python benchmarks/ablations.py outline --products 6
    python benchmarks/ablations.py method --products 6
    python benchmarks/ablations.py detail --products 6
    python benchmarks/ablations.py priors --products 6

Prints a Markdown table; every product's outline and scores are kept under ``--results`` as they come, and are not made
again, so that it can be stopped and gone on with. Pages of docs/experiments name it. Settings are chosen by products of
the validation split; what was chosen is reported on others, by ``--split test``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.batch.fingerprints import fingerprint, identify_files
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.pipelines.score_priors.parameters import MethodParameters
from mpod_pipeline.pipelines.score_priors.reconstruction import (
    TO_THE_OUTLINE,
    Method,
    finish_product,
    outline_product,
    photo_of,
)
from mpod_pipeline.synthesis.views import one_of_each_family

Choices = dict[str, dict[str, Any]]

#: Little is spent on stage 2 where stage 1 is in question.
QUICK_DETAIL = {"detail.steps": 1, "textual_inversion.steps": 1}

OUTLINE: Choices = {
    "default": {},
    "guidance 1": {"outline.sds.guidance_scale": 1.0},
    "guidance 5": {"outline.sds.guidance_scale": 5.0},
    "noise 0.02-0.98 throughout": {"outline.sds.start": (0.02, 0.98), "outline.sds.end": (0.02, 0.98)},
    "noise 0.5-0.95 to 0.2-0.5": {"outline.sds.end": (0.2, 0.5)},
    "w(t) = sigma^2": {"outline.sds.weighting": "sigma_squared"},
    "w(t) = 1": {"outline.sds.weighting": "uniform"},
    "160 steps": {"outline.steps": 160},
    "200 steps": {"outline.steps": 200},
    "320 steps": {"outline.steps": 320},
    "two novel views": {"outline.novel_views": 2},
    "two novel views, 160 steps": {"outline.novel_views": 2, "outline.steps": 160},
    "half the learning rates": {"outline.table_learning_rate": 0.01, "outline.network_learning_rate": 0.005},
    "12 levels of the hash grid": {"outline.field.hash_grid.levels": 12},
    "photo in 25% of the steps": {"outline.reference_probability": 0.25},
    "SDS weight 200": {"outline.sds.weight": 200.0},
    "SDS weight 800": {"outline.sds.weight": 800.0},
    # as it was until one view and half the levels proved as good in less than half of the time
    "two views, 320 steps, 12 levels": {
        "outline.novel_views": 2,
        "outline.steps": 320,
        "outline.table_learning_rate": 0.01,
        "outline.network_learning_rate": 0.005,
        "outline.field.hash_grid.levels": 12,
    },
}

#: Nothing asks Stable Diffusion, and stage 1's colours are held firmly.
ALONE = {"detail.inpainting.colour": 0.0, "detail.inpainting.features": 0.0, "detail.weights.outline_colour": 100.0}
#: Score distillation in place of painted samples, so loud that it is heard, at noise levels at which the word says
#: something, and stage 1's colours held less firmly.
HEARD = ALONE | {
    "detail.sds.weight": 50.0,
    "detail.sds.start": (0.2, 0.7),
    "detail.sds.end": (0.02, 0.4),
    "detail.weights.outline_colour": 20.0,
}
#: Score distillation by the other prior, as loud.
ZERO_1_TO_3 = {"guidance_scale": 2.5, "start": (0.02, 0.5), "end": (0.02, 0.3), "weight": 50.0}
ZERO_AND_ROUGH = {"detail.novel_view": ZERO_1_TO_3, "detail.weights.colour_smoothness": 0.5}
#: What is painted leads by its features, and not by its pixels.
FEATURES_ALONE = {"detail.inpainting.colour": 0.0, "detail.inpainting.features": 4.0}
NO_MRCA = {"detail.mask_guidance": "none"}
NO_NVM = {"detail.weights.novel_view_mask": 0.0}

DETAIL: Choices = {
    "default": {},
    "no MRCA (plain Stable Diffusion)": NO_MRCA,
    "MRCA on the columns behind too": {"detail.masked_columns": "token_and_after"},
    "no L_nvm": NO_NVM,
    "no L_nvm, no MRCA": NO_NVM | NO_MRCA,
    "noise 0.02": {"detail.inpainting.noise": 0.02},
    "noise 0.3": {"detail.inpainting.noise": 0.3},
    "noise 0.3, no MRCA": NO_MRCA | {"detail.inpainting.noise": 0.3},
    "noise 0.3, guidance 15": {"detail.inpainting.noise": 0.3, "detail.inpainting.guidance_scale": 15.0},
    "noise 0.5": {"detail.inpainting.noise": 0.5},
    "features alone": FEATURES_ALONE,
    "no Stable Diffusion": ALONE,
    "no Stable Diffusion, outline's colours held less": ALONE | {"detail.weights.outline_colour": 20.0},
    "no Stable Diffusion, outline's colours in 192 pixels": ALONE | {"detail.outline_resolution": 192},
    "no Stable Diffusion, rougher colours": ALONE | {"detail.weights.colour_smoothness": 0.5},
    "SDS 2": ALONE | {"detail.sds.weight": 2.0},
    "heard": HEARD,
    "heard, no MRCA": HEARD | NO_MRCA,
    "heard, no L_nvm": HEARD | NO_NVM,
    "heard, no L_nvm, no MRCA": HEARD | NO_NVM | NO_MRCA,
    "louder (200)": HEARD | {"detail.sds.weight": 200.0},
    "louder (200), no MRCA": HEARD | NO_MRCA | {"detail.sds.weight": 200.0},
    "louder (200), no L_nvm": HEARD | NO_NVM | {"detail.sds.weight": 200.0},
    "louder (200), no L_nvm, no MRCA": HEARD | NO_NVM | NO_MRCA | {"detail.sds.weight": 200.0},
    "heard, guidance 15": HEARD | {"detail.sds.guidance_scale": 15.0},
    "heard, guidance 30": HEARD | {"detail.sds.guidance_scale": 30.0},
    "heard, two views": HEARD | {"detail.novel_views": 2},
    "heard, 320 steps": HEARD | {"detail.steps": 320},
    "heard, half the views shaded": HEARD | {"detail.shading.lambertian": 0.5},
    "heard, and Zero-1-to-3": HEARD | {"detail.novel_view": ZERO_1_TO_3},
    "Zero-1-to-3 alone": ALONE | {"detail.novel_view": ZERO_1_TO_3, "detail.weights.outline_colour": 20.0},
    "painted over, and Zero-1-to-3": {"detail.novel_view": ZERO_1_TO_3},
    "painted over, and Zero-1-to-3, rougher colours": ZERO_AND_ROUGH,
    "features alone, and Zero-1-to-3, rougher colours": ZERO_AND_ROUGH | FEATURES_ALONE,
    "Zero-1-to-3 alone, rougher colours": ZERO_AND_ROUGH | ALONE | {"detail.weights.outline_colour": 20.0},
    "features alone, rougher colours": FEATURES_ALONE | {"detail.weights.colour_smoothness": 0.5},
    "40 steps": {"detail.steps": 40},
    "no Laplacian": {"detail.weights.laplacian": 0.0},
    # Last, as it does stage 1 again.
    "300 steps for the word": {"textual_inversion.steps": 300},
}

#: Those of stage 1's that come close to the default or pass it, through both stages.
METHOD: Choices = {name: OUTLINE[name] for name in ("default", "two views, 320 steps, 12 levels")}

#: Whose denoisers lead; "untrained" has networks of the same shapes, drawn at random.
UNTRAINED = "untrained"
PRIORS: Choices = {"shipped": {}, UNTRAINED: {}}

SCORES = [
    "psnr",
    "silhouette_iou",
    "chamfer",
    "volume_iou",
    "depth_error_above",
    "photo_psnr",
    "feature_distance_efficientnet_lite0",
    "sharpness",
    "similarity_efficientnet_lite0",
    "mvc_efficientnet_lite0",
    "cx_efficientnet_lite0",
    "janus_efficientnet_lite0",
]

STAGES = {
    "priors": (PRIORS, {}, ["outline_psnr", "outline_silhouette_iou", *SCORES]),
    "method": (METHOD, {}, ["outline_psnr", "outline_silhouette_iou", *SCORES]),
    "outline": (
        OUTLINE,
        QUICK_DETAIL,
        [
            "outline_psnr",
            "outline_silhouette_iou",
            "outline_photo_psnr",
            "seconds_optimize_outline",
            "psnr",
            "silhouette_iou",
            "chamfer",
            "volume_iou",
            "depth_error_above",
        ],
    ),
    "detail": (DETAIL, {}, [*SCORES, "seconds_refine_detail"]),
}


def with_choices(choices: dict[str, Any]) -> MethodParameters:
    """The defaults, with dotted names set."""
    settings = MethodParameters().model_dump()
    for name, value in choices.items():
        *path, last = name.split(".")
        section = settings
        for part in path:
            section = section[part]
        section[last] = value
    return MethodParameters.model_validate(settings)


def forget(method: Method, seed: int) -> None:
    """Draw the denoisers' weights, and those of what conditions them, at random; the autoencoders stay."""
    torch.manual_seed(seed)
    novel_view = method.models["optimize_outline"]
    networks = [novel_view.unet, novel_view.image_encoder, novel_view.camera_projection]
    for step in ("learn_tokens", "refine_detail"):
        networks += [method.models[step].prior.unet, method.models[step].prior.text_encoder]
    for network in networks:
        for layer in network.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()


def scores_of_product(
    member: tuple[str, int], stage: str, names: Sequence[str], seed: int, priors: Path, results: Path
) -> list[dict[str, float]]:
    """The scores of one product with each of these choices, from disk where they were made before. Stage 1 is done
    again only where a choice is about it.
    """
    choices, always, _ = STAGES[stage]
    weights = {name: identity.sha256 for name, identity in identify_files(priors, {}).items()}
    folders = {f"{name}_prior": Weights(priors / name, "cpu") for name in ("novel_view", "text_to_image")}
    settings_of = {name: with_choices(always | choices[name]) for name in names}
    # Zero-1-to-3 is loaded for stage 2 as well where one of the choices asks it there.
    asking = (p for p in settings_of.values() if p.detail.asks_for_views and p.detail.asks_with_words)
    method = Method.load(folders, next(asking, MethodParameters()))
    photo = photo_of(*member)
    scores: list[dict[str, float]] = []
    for name in names:
        if name == UNTRAINED:
            forget(method, seed)
        p = settings_of[name]
        settings = {"trained": name != UNTRAINED, "weights": weights, "parameters": p.model_dump(mode="json")}
        file = results / f"{member[0]}-{fingerprint({'product': member, 'seed': seed, **settings})[:16]}.json"
        if not file.exists():
            sections = {step.section for step in TO_THE_OUTLINE}
            outline_of = {**settings, "parameters": p.model_dump(mode="json", include=sections)}
            key = fingerprint({"product": member, "seed": seed, **outline_of})[:16]
            make = partial(outline_product, photo, method, p, seed)
            outlined = kept_outline(results / f"{member[0]}-{key}", make)
            made = finish_product(member[0], photo, outlined, method, p, seed)
            picture = np.concatenate([made["turntables"], made["normals"]])
            Image.fromarray(picture).save(file.with_suffix(".png"))
            file.write_text(json.dumps({"choice": name, **made["evaluations"]}))
        scores.append(json.loads(file.read_text()))
    return scores


def kept_outline(place: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The artifacts that were kept at a place, or those that ``make`` makes, kept."""
    field, others = place.with_suffix(".safetensors"), place.with_suffix(".pt")
    if not others.exists():
        made = make()
        made.pop("outline_fields").stored().save(field)
        torch.save(made, others)
    return {**torch.load(others, weights_only=False), "outline_fields": OutlineField.load(field)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--products", type=int, default=6)
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--workers", type=int, default=2, help="products at work at once, on a share of the cores each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="some of the choices, by name")
    parser.add_argument("--priors", type=Path, default=Path("data/06_models/priors"))
    parser.add_argument("--results", type=Path, default=Path("data/08_reporting/ablations"))
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)

    choices, _, columns = STAGES[arguments.stage]
    # The untrained networks take the others' place, so they come last.
    names = sorted(arguments.only or choices, key=UNTRAINED.__eq__)
    members = one_of_each_family(arguments.split, arguments.products)
    work = partial(
        scores_of_product,
        stage=arguments.stage,
        names=names,
        seed=arguments.seed,
        priors=arguments.priors,
        results=arguments.results,
    )
    threads = max(1, (os.cpu_count() or 1) // arguments.workers)
    with ProcessPoolExecutor(
        arguments.workers, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)
    ) as pool:
        by_product = list(tqdm(pool.map(work, members), total=len(members), unit="product"))

    print(f"\n{len(members)} products of the {arguments.split} split: {', '.join(family for family, _ in members)}\n")
    print("| choice |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for name, scores in zip(names, zip(*by_product, strict=True), strict=True):
        mean = pd.DataFrame(scores).mean(numeric_only=True)
        print(f"| {name} |", " | ".join(f"{mean[column]:.3f}" for column in columns), "|")


if __name__ == "__main__":
    main()
