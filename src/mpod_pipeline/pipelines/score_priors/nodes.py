"""The priors' scores on products held out from training: each table by itself, then all in one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.report import no_report
from mpod_pipeline.datasets import ModelFile, Models, Weights
from mpod_pipeline.method.cutouts import Reference, reference_view
from mpod_pipeline.method.textual_inversion import learn_token
from mpod_pipeline.method.words import SENTENCES, TIMES, WordDrawer, beside
from mpod_pipeline.metrics.encoders import EfficientNetLite0, load_efficientnet_lite0
from mpod_pipeline.metrics.ground_truth import psnr, silhouette_iou
from mpod_pipeline.pipelines.score_priors.parameters import CaptionScoring, ScorePriorsParameters
from mpod_pipeline.pipelines.score_priors.reconstruction import (
    HEIGHTS,
    Height,
    Method,
    cut_at,
    finish_product,
    outline_product,
    photo_of,
)
from mpod_pipeline.priors import NovelViewPrior, load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.adapters import fuse_adapter
from mpod_pipeline.priors.train_autoencoder import autoencoder_psnr
from mpod_pipeline.priors.train_depth import to_tensor
from mpod_pipeline.synthesis.families import HELD_OUT_FAMILY, TRAINED_FAMILIES
from mpod_pipeline.synthesis.studio import on_white
from mpod_pipeline.synthesis.views import (
    ProductViews,
    members_of,
    one_of_each_family,
    photograph_model,
    photograph_product,
)

logger = logging.getLogger(__name__)

#: A sampled picture has no opacity; what is darker than this in some channel is taken for the product.
WHITE_PAPER = 0.93
#: Products of a group whose sampled views are kept as a picture.
SHOWN_PRODUCTS = 8
#: Pixels a side of the pictures that families are recognised in, and of the photos whose camera's height is found.
CLASSIFIED_SIZE = 128
PHOTO_SIZE = 256
KEPT_ASIDE = "models kept aside"
NO_MODELS = Models()
#: Score, value, goal.
Row = tuple[str, float, str]


def score_novel_views(
    novel_view_prior: Weights, parameters: ScorePriorsParameters, models: Models = NO_MODELS
) -> tuple[pd.DataFrame, dict[str, NDArray[np.uint8]]]:
    """A row for each group of products, with the height of the photo's camera told, and found: the autoencoder's PSNR;
    PSNR and silhouette IoU of sampled views, and of the photo copied unchanged. And a picture for each group: the first
    products' true views above the sampled ones. The models that were kept aside are a group.
    """
    p = parameters.novel_views
    prior = load_novel_view_prior(
        novel_view_prior.path,
        device=novel_view_prior.device,
        absolute_elevation=parameters.method.outline.absolute_elevation,
        adapters=novel_view_prior.adapters,
    )
    autoencoder = AutoencoderKL.from_pretrained(novel_view_prior.path, subfolder="vae").float().eval()
    members = {
        "trained families": members_of(parameters.split, TRAINED_FAMILIES, p.objects),
        "held-out family": members_of(parameters.split, [HELD_OUT_FAMILY], p.held_out),
        "compounds": members_of(parameters.split, ["compound"], p.compounds),
    }
    groups: dict[str, list[Callable[..., ProductViews]]] = {
        group: [partial(photograph_product, family, seed) for family, seed in some] for group, some in members.items()
    }
    if kept := models.of_split("validation"):
        groups[KEPT_ASIDE] = [partial(_first_shot, model) for model in kept]

    rows, samples = [], {}
    for group, photographs in groups.items():
        scores: dict[Height, list[dict[str, float]]] = {height: [] for height in HEIGHTS}
        shown: list[NDArray[np.uint8]] = []
        for photograph in tqdm(photographs, desc=f"novel views, {group}"):
            views = photograph(views=p.views + 1, resolution=prior.image_size)
            photo, told = photograph(views=1, resolution=PHOTO_SIZE).pictures[0], float(views.elevation_deg[0])
            autoencoded = autoencoder_psnr(autoencoder, on_white(views.pictures))
            for height in HEIGHTS:
                _, elevation = cut_at(photo, told, height)
                sampled = sample_views(prior, views, elevation, p.steps, p.guidance_scale, parameters.seed)
                scores[height].append({"autoencoder_psnr": autoencoded, **score_product(sampled, views)})
                if height == "told" and len(shown) < SHOWN_PRODUCTS:
                    true = to_tensor(on_white(views.pictures))
                    shown.append(grid([true, torch.cat([true[:1], sampled])]))
        rows += [
            {"group": group, "height": height, "products": len(each), **pd.DataFrame(each).mean().to_dict()}
            for height, each in scores.items()
        ]
        samples[group.replace(" ", "_")] = np.concatenate(shown)
    return pd.DataFrame(rows), samples


def _first_shot(model: ModelFile, views: int, resolution: int) -> ProductViews:
    """Raises SetupError for a model that cannot be photographed: a mean without it would be of other models."""
    try:
        return photograph_model(model, 1, views, resolution)[0]
    except ProductError as error:
        raise SetupError(f"The model {model.name}, which was kept aside, cannot be scored. {error}") from error


def sample_views(
    prior: NovelViewPrior, views: ProductViews, photo_elevation_deg: float, steps: int, guidance_scale: float, seed: int
) -> Tensor:
    """The prior's pictures [V - 1, 3, H, W] of a product from where its true ones were taken, from the first, whose
    camera is believed to stand so high.
    """
    return prior.sample(
        to_tensor(on_white(views.pictures[:1]))[0],
        torch.from_numpy(views.azimuth_deg[1:]),
        torch.from_numpy(views.elevation_deg[1:]),
        photo_elevation_deg=photo_elevation_deg,
        steps=steps,
        guidance_scale=guidance_scale,
        seed=seed,
    ).cpu()


def grid(rows: Sequence[Tensor]) -> NDArray[np.uint8]:
    """Rows of pictures [N, 3, H, W] in [0, 1] as one picture."""
    lines = [torch.cat(list(row), dim=2) for row in rows]
    picture: NDArray[np.uint8] = (torch.cat(lines, dim=1) * 255).round().byte().permute(1, 2, 0).numpy()
    return picture


def score_product(sampled: Tensor, views: ProductViews) -> dict[str, float]:
    """Means over the sampled views [V - 1, 3, H, W] of one product, whose first true one is the photo."""
    pictures = to_tensor(on_white(views.pictures))
    opacity = torch.from_numpy(views.pictures[..., 3:]).permute(0, 3, 1, 2).float() / 255
    copied = pictures[:1].expand_as(sampled)
    covered = (sampled.amin(1, keepdim=True) < WHITE_PAPER).float()
    return {
        "psnr": float(psnr(sampled, pictures[1:]).mean()),
        "copied_psnr": float(psnr(copied, pictures[1:]).mean()),
        "silhouette_iou": float(silhouette_iou(covered, opacity[1:]).mean()),
        "copied_silhouette_iou": float(silhouette_iou(opacity[:1].expand_as(opacity[1:]), opacity[1:]).mean()),
    }


def score_captions(
    text_to_image_prior: Weights, parameters: ScorePriorsParameters
) -> tuple[pd.DataFrame, dict[str, NDArray[np.uint8]]]:
    """A row a family: how often a classifier of our families tells it from a sample of its caption, and from a photo.
    And the samples as one picture, a row a family.

    The classifier is linear, over EfficientNet-Lite0's features, and learns from true photos of the training split.
    """
    p = parameters.captions
    encoder, classify = family_classifier(p.examples)
    asked = members_of(parameters.split, TRAINED_FAMILIES, p.captions * len(TRAINED_FAMILIES))
    photos = [photograph_product(family, seed, 2, CLASSIFIED_SIZE) for family, seed in asked]
    true = torch.cat([to_tensor(on_white(views.pictures[:1])) for views in photos])
    sampled = sample_captions(text_to_image_prior, [views.caption for views in photos], p, parameters.seed)
    families = [family for family, _ in asked]
    of = {"samples": sampled, "photos": true}
    told = {name: recognised(classify, encoder, pictures, families) for name, pictures in of.items()}
    table = pd.DataFrame({"family": families, **told})
    by_family = table.groupby("family", sort=False).mean().reset_index()
    mean = by_family.mean(numeric_only=True).to_frame().T.assign(family="mean")
    rows = [sampled[(table["family"] == family).to_numpy()] for family in by_family["family"]]
    return pd.concat([by_family, mean]), {"captions": grid(rows)}


@cache
def family_classifier(examples: int) -> tuple[EfficientNetLite0, torch.nn.Module]:
    """An encoder, and what tells a picture's family from its embedding, learnt from so many products of each."""
    encoder = load_efficientnet_lite0()
    learnt = members_of("train", TRAINED_FAMILIES, examples * len(TRAINED_FAMILIES))
    features, labels = [], []
    for family, seed in tqdm(learnt, desc="photos to learn from"):
        pictures = to_tensor(on_white(photograph_product(family, seed, 4, CLASSIFIED_SIZE).pictures))
        features.append(encoder.embed(pictures))
        labels += [TRAINED_FAMILIES.index(family)] * len(pictures)
    return encoder, linear_classifier(torch.cat(features), torch.tensor(labels), len(TRAINED_FAMILIES))


def linear_classifier(features: Tensor, labels: Tensor, classes: int) -> torch.nn.Module:
    """A softmax over standardised features [N, D], with weights held small."""
    spread = torch.nn.BatchNorm1d(features.shape[1], affine=False, momentum=None)
    spread(features)
    head = torch.nn.Linear(features.shape[1], classes)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")
    inputs = spread.eval()(features)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(inputs), labels)
        loss = loss + 1e-3 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    return torch.nn.Sequential(spread, head).eval()


@torch.no_grad()
def recognised(
    classify: torch.nn.Module, encoder: EfficientNetLite0, pictures: Tensor, families: Sequence[str]
) -> list[float]:
    """For each picture [N, 3, H, W], whether the likeliest family is its own."""
    found = torch.cat([classify(encoder.embed(some)).argmax(1) for some in pictures.split(32)])
    return [float(TRAINED_FAMILIES[i] == family) for i, family in zip(found.tolist(), families, strict=True)]


def sample_captions(prior: Weights, captions: Sequence[str], p: CaptionScoring, seed: int) -> Tensor:
    """A picture [3, H, W] in [0, 1] for each caption, by diffusers' own pipeline."""
    pipeline = StableDiffusionPipeline.from_pretrained(prior.path, safety_checker=None)
    for file in prior.adapters:
        fuse_adapter(pipeline.unet, file)
    pipeline = pipeline.to(prior.device)
    pipeline.set_progress_bar_config(disable=True)
    pictures: list[NDArray[Any]] = []
    batches = range(0, len(captions), 16)
    for start in tqdm(batches, desc="captions to pictures"):
        batch = list(captions[start : start + 16])
        generator = torch.Generator().manual_seed(seed + start)
        prompts = [f"a product photo of a {caption}, front view" for caption in batch]
        how = {"num_inference_steps": p.steps, "guidance_scale": p.guidance_scale, "output_type": "np"}
        pictures += list(pipeline(prompts, generator=generator, **how).images)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().contiguous()


def score_words(
    text_to_image_prior: Weights, parameters: ScorePriorsParameters
) -> tuple[pd.DataFrame, dict[str, NDArray[np.uint8]]]:
    """What the word draws that was learnt from a product's photo: one row per product, and a mean; and photos and
    samples as one picture.

    A row has the share of the samples in which the classifier of `score_captions` recognises the family, their
    similarity to the photo beside that of the other products' samples, and their colour's error.
    """
    p = parameters.words
    encoder, classify = family_classifier(parameters.captions.examples)
    prior = load_text_to_image_prior(text_to_image_prior.path, device=text_to_image_prior.device)
    drawer = WordDrawer(prior, encoder)
    members = [member for family in TRAINED_FAMILIES for member in members_of(parameters.split, [family], p.products)]
    rows, shown, seen = [], [], []
    for family, seed in tqdm(members, desc="words"):
        cutouts = photo_of(family, seed).cutouts
        token = learn_token(cutouts, prior, parameters.method.textual_inversion, parameters.seed, no_report)
        samples = drawer.samples([token], SENTENCES * TIMES)
        photo = reference_view(cutouts.front.picture, prior.image_size)
        seen.append(encoder.embed(torch.cat([photo.picture[None], samples])))
        told = recognised(classify, encoder, samples, [family] * len(samples))
        error = colour_error(samples, photo)
        rows.append({"product": f"{family}-{seed}", "recognised": np.mean(told), "colour_error": error})
        shown.append(beside(photo.picture, samples))
    own, other = own_and_other_similarity(torch.stack(seen))
    table = pd.DataFrame(rows).assign(similarity=own, other_similarity=other)
    return with_mean(table), {"words": np.concatenate(shown)}


def own_and_other_similarity(embeddings: Tensor) -> tuple[list[float], list[float]]:
    """The mean similarity of each of N products' photo to its own samples, and to the samples of all others.

    The photo is the first of each row of embeddings [N, 1 + S, D].
    """
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    mean = torch.einsum("nd,msd->nm", unit[:, 0], unit[:, 1:]) / (embeddings.shape[1] - 1)
    own = mean.diagonal()
    return own.tolist(), ((mean.sum(dim=1) - own) / max(1, len(mean) - 1)).tolist()


def colour_error(samples: Tensor, photo: Reference) -> float:
    """How far the mean colour of samples [N, 3, H, W] is from the product's in its photo.

    It is the root of the mean squared difference over red, green and blue.
    """
    shown = samples.amin(dim=1, keepdim=True) < WHITE_PAPER
    mean = (samples * shown).sum(dim=(0, 2, 3)) / shown.sum().clamp_min(1)
    return float((mean - photo.picture[:, photo.mask > 0.9].mean(dim=1)).square().mean().sqrt())


def score_reconstructions(
    novel_view_prior: Weights, text_to_image_prior: Weights, parameters: ScorePriorsParameters
) -> Iterator[dict[str, Any]]:
    """The whole method from photo to mesh, for products of a split, one of each family in turn, with the height of the
    photo's camera told, and found; with means. One that does not arrive is left out. Raises SetupError if none does
    one way.
    """
    p = parameters.method
    priors = {"novel_view_prior": novel_view_prior, "text_to_image_prior": text_to_image_prior}
    method = Method.load(priors, p)
    yield {"scores": pd.DataFrame(), "turntables": {}}
    rows = []
    products = one_of_each_family(parameters.split, parameters.products)
    for (family, seed), height in tqdm(list(product(products, HEIGHTS)), desc="reconstructions"):
        name = f"{family}-{seed}"
        try:
            photo = photo_of(family, seed, height)
            outlined = outline_product(photo, method, p, parameters.seed)
            made = finish_product(family, photo, outlined, method, p, parameters.seed)
        except ProductError as error:
            logger.warning("reconstruction, height %s: %s failed. %s", height, name, error)
            continue
        rows.append({"product": name, "height": height, **made["evaluations"]})
        turntable = np.concatenate([made["turntables"], made["normals"]])
        yield {
            "scores": with_means(pd.DataFrame(rows)),
            "turntables": {name if height == "told" else f"{name}-height-found": turntable},
        }
    if {row["height"] for row in rows} != set(HEIGHTS):
        raise SetupError("No product was reconstructed with these priors; the warnings above say why.")


def with_mean(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.mean(numeric_only=True).to_frame().T.assign(product="mean")])


def with_means(table: pd.DataFrame) -> pd.DataFrame:
    """With the mean of each height's rows."""
    means = table.groupby("height", sort=False).mean(numeric_only=True).reset_index().assign(product="mean")
    return pd.concat([table, means])


def print_scores(
    novel_views: pd.DataFrame, captions: pd.DataFrame, words: pd.DataFrame, reconstructions: pd.DataFrame
) -> pd.DataFrame:
    """One table, (score, value, goal), which is printed as well. Scores of what depends on the height of the photo's
    camera are there twice: with the height told, and found in the photo.
    """
    told, found = (
        [*novel_view_rows(of_height(novel_views, height)), *reconstruction_rows(of_height(reconstructions, height))]
        for height in HEIGHTS
    )
    trained = row_of(of_height(novel_views, "told"), "group", "trained families")
    caption, word = row_of(captions, "family", "mean"), row_of(words, "product", "mean")
    rows: list[Row] = [
        ("autoencoder, PSNR", trained["autoencoder_psnr"], ">= 32"),
        ("captions recognised", caption["samples"], ">= 0.85"),
        ("the same of true photos", caption["photos"], ""),
        ("learnt words, family recognised", word["recognised"], ">= 0.85"),
        ("learnt words, colour error", word["colour_error"], ""),
        ("learnt words, similarity to the photo", word["similarity"], ""),
        ("the same of the words of other products", word["other_similarity"], ""),
        *told,
        *((f"{name}, height found", value, "") for name, value, _ in found),
    ]
    table = pd.DataFrame(rows, columns=["score", "value", "goal"])
    print(f"\n{table.to_string(index=False, float_format=lambda v: f'{v:.3f}')}\n")
    return table


def of_height(table: pd.DataFrame, height: Height) -> pd.DataFrame:
    return table[table["height"] == height].drop(columns="height")


def novel_view_rows(table: pd.DataFrame) -> list[Row]:
    groups = {str(group): row_of(table, "group", group) for group in table["group"]}
    trained = groups["trained families"]
    goals = {"held-out family": ">= 2", "compounds": ">= 2", KEPT_ASIDE: ""}
    return [
        ("novel views, PSNR", trained["psnr"], ">= 21"),
        ("novel views, PSNR above copying", trained["psnr"] - trained["copied_psnr"], ">= 4"),
        ("novel views, silhouette IoU", trained["silhouette_iou"], ">= 0.85"),
        ("the same of copying", trained["copied_silhouette_iou"], ""),
        *(
            (f"{name}, PSNR above copying", groups[name]["psnr"] - groups[name]["copied_psnr"], goal)
            for name, goal in goals.items()
            if name in groups
        ),
    ]


def reconstruction_rows(table: pd.DataFrame) -> list[Row]:
    mean = row_of(table, "product", "mean")
    return [
        ("reconstruction, products that arrived", len(table) - 1, ""),
        ("reconstruction, stage 1, PSNR", mean["outline_psnr"], ""),
        ("reconstruction, stage 1, silhouette IoU", mean["outline_silhouette_iou"], ""),
        ("reconstruction, PSNR", mean["psnr"], ">= 24"),
        ("reconstruction, silhouette IoU", mean["silhouette_iou"], ">= 0.92"),
        ("reconstruction, Chamfer", mean["chamfer"], ""),
        ("reconstruction, volume IoU", mean["volume_iou"], ""),
        ("reconstruction, error of depths from above", mean["depth_error_above"], ""),
        *(  # of the hollow ones, where there are any
            ("reconstruction, depth of cavities, of the true one", mean[name], ">= 0.6")
            for name in ["cavity_depth"]
            if isfinite(mean.get(name, nan))
        ),
        ("reconstruction, feature distance of unseen views", mean["feature_distance_efficientnet_lite0"], ""),
        ("reconstruction, sharpness of unseen views", mean["sharpness"], "1"),
        ("reconstruction, kind in the top 5 away from the photo", mean["kind_top5"], "as true"),
        ("the same of the true models", mean["true_kind_top5"], ""),
    ]


def row_of(table: pd.DataFrame, column: str, value: str) -> dict[str, float]:
    """The numbers of the row whose ``column`` holds ``value``."""
    row = table[table[column] == value].iloc[0].drop(column)
    return {str(name): float(number) for name, number in row.items()}
