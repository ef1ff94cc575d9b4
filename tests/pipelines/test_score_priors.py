"""The priors' scores mean what they say, and their one command runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.datasets import Weights
from mpod_pipeline.method.cutouts import Reference
from mpod_pipeline.pipelines.score_priors import nodes
from mpod_pipeline.pipelines.score_priors.nodes import (
    colour_error,
    grid,
    linear_classifier,
    own_and_other_similarity,
    score_novel_views,
    score_product,
    score_reconstructions,
)
from mpod_pipeline.pipelines.score_priors.parameters import ScorePriorsParameters
from mpod_pipeline.synthesis.families import HELD_OUT_FAMILY, TRAINED_FAMILIES
from mpod_pipeline.synthesis.studio import on_white
from mpod_pipeline.synthesis.views import SPLIT_SEEDS, ProductViews, members_of, one_of_each_family, photograph_product
from tests.command import ROOT, environment
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image


def _views() -> ProductViews:
    return photograph_product("mug", SPLIT_SEEDS["test"] + 3, 5, 64)


def _pictures(views: ProductViews) -> Tensor:
    return torch.from_numpy(on_white(views.pictures)).permute(0, 3, 1, 2).float() / 255


def test_the_true_views_score_best_and_the_photo_scores_like_copying() -> None:
    views = _views()
    truth = _pictures(views)
    best = score_product(truth[1:], views)
    assert best["psnr"] == np.inf
    assert best["silhouette_iou"] > 0.93  # white highlights are taken for paper, pale edges for product
    copied = score_product(truth[:1].expand(4, -1, -1, -1), views)
    assert copied["psnr"] == pytest.approx(copied["copied_psnr"])
    assert copied["copied_psnr"] == best["copied_psnr"] < 25


def test_a_grid_is_read_like_a_page() -> None:
    pictures = torch.arange(6.0).div(5)[:, None, None, None].expand(6, 3, 2, 2)
    page = grid([pictures[:3], pictures[3:]])
    assert page.shape == (4, 6, 3)
    assert page[::2, ::2, 0].tolist() == [[0, 51, 102], [153, 204, 255]]


def test_scored_products_are_of_the_test_split_and_of_different_families() -> None:
    products = one_of_each_family("test", 12)
    assert len({family for family, _ in products}) == 12 and products[1][0] == HELD_OUT_FAMILY
    assert all(SPLIT_SEEDS["test"] <= seed < SPLIT_SEEDS["samples"] for _, seed in products)
    assert len(members_of("test", TRAINED_FAMILIES, 100)) == 100


def test_the_section_that_has_moved_says_where() -> None:
    with pytest.raises(ValidationError, match=r"score_priors\.road has moved: set score_priors\.method"):
        ScorePriorsParameters.model_validate({"road": {"outline": {"steps": 12}}})


@pytest.mark.parametrize("split", ["validation", "test"])
def test_scored_products_are_of_the_split_that_is_asked_for(split: str, tmp_path: Path) -> None:
    prior = Weights(save_tiny_novel_view(tmp_path / "novel_view"), "cpu")
    few = {"objects": 1, "held_out": 1, "compounds": 1, "views": 2, "steps": 1}
    p = ScorePriorsParameters.model_validate({"split": split, "novel_views": few})
    table, _ = score_novel_views(prior, p)
    assert list(table["height"]) == ["told", "found"] * 3
    groups = table["group"].unique()
    for group, families in zip(groups, [TRAINED_FAMILIES, [HELD_OUT_FAMILY], ["compound"]], strict=True):
        family, seed = members_of(split, families, 1)[0]
        copied = score_product(torch.zeros(2, 3, 32, 32), photograph_product(family, seed, 3, 32))
        rows = table[table["group"] == group]
        assert list(rows["copied_psnr"]) == pytest.approx([copied["copied_psnr"]] * 2)


def test_other_products_samples_are_told_from_the_own_ones() -> None:
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    embeddings = torch.stack([torch.stack([right, right, up]), torch.stack([up, up, up]), torch.stack([up, right, up])])
    own, other = own_and_other_similarity(embeddings)
    assert own == pytest.approx([0.5, 1.0, 0.5])
    assert other == pytest.approx([0.25, 0.5, 0.75])


def test_the_colour_of_samples_is_that_of_what_they_show() -> None:
    mask = torch.zeros(8, 8)
    mask[:4] = 1
    photo = Reference(torch.where(mask > 0, 0.5, 1.0).expand(3, -1, -1), mask)
    samples = torch.ones(2, 3, 8, 8)
    samples[0, :, 3:5] = 0.4  # elsewhere in the frame, and smaller
    samples[1, :, :2] = 0.6
    assert colour_error(samples, photo) == pytest.approx(0.0, abs=1e-6)
    samples[:, 0] -= 0.1 * (samples[:, 0] < 0.9)
    assert colour_error(samples, photo) == pytest.approx(0.1 / 3**0.5, abs=1e-6)


def test_the_classifier_separates_what_can_be_separated() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(30)
    features = torch.randn(90, 8, generator=generator)
    features[:, :3] += 6 * torch.nn.functional.one_hot(labels, 3)
    found = linear_classifier(features, labels, 3)(features).argmax(1)
    assert (found == labels).float().mean() > 0.95


def test_a_product_that_does_not_arrive_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    priors = (
        Weights(save_tiny_novel_view(tmp_path / "novel_view"), "cpu"),
        Weights(save_tiny_text_to_image(tmp_path / "text_to_image"), "cpu"),
    )
    picture = np.zeros((4, 4, 3), np.uint8)

    def outline(family: str, *_: object) -> str:
        if family in lost:
            raise ProductError("The outline is empty from some side.")
        return family

    monkeypatch.setattr(nodes, "photo_of", lambda family, *_: family)
    monkeypatch.setattr(nodes, "outline_product", outline)
    made = {"evaluations": {"psnr": 20.0}, "turntables": picture, "normals": picture}
    monkeypatch.setattr(nodes, "finish_product", lambda *_: made)
    p = ScorePriorsParameters(products=3)
    families = [family for family, _ in one_of_each_family(p.split, 3)]
    lost = families[1:2]
    *_, last = score_reconstructions(*priors, p)
    arrived = [(row["product"].split("-")[0], row["height"]) for row in last["scores"].to_dict("records")]
    twice = [(family, height) for family in (families[0], families[2], "mean") for height in ("told", "found")]
    assert arrived == twice
    lost = families
    with pytest.raises(SetupError, match="No product"):
        list(score_reconstructions(*priors, p))


@pytest.mark.slow
def test_one_command_prints_all_scores(tmp_path: Path) -> None:
    """Of tiny priors: nothing asks here how good they are."""
    save_tiny_novel_view(tmp_path / "priors/novel_view")
    save_tiny_text_to_image(tmp_path / "priors/text_to_image")
    few = ",".join(
        [
            "novel_views.objects=1,novel_views.held_out=1,novel_views.compounds=1,novel_views.views=2",
            "novel_views.steps=2,captions.examples=1,captions.captions=1,captions.steps=1,products=1",
            "method.textual_inversion.steps=1,method.outline.steps=12,method.detail.steps=1",
            "method.masks.azimuths=3,method.masks.resolution=32,method.detail.grid_resolution=20,method.detail.resolution=48",
            "method.export.texture_size=128,method.export.triangles=2000,method.evaluation.resolution=64",
            "method.evaluation.sheet_resolution=64",
        ]
    )
    params = ",".join(f"score_priors.{one}" for one in few.split(","))
    command = [sys.executable, "-m", "kedro", "run", "--pipeline=score_priors"]
    result = subprocess.run(
        [*command, f"--params=workspace={tmp_path},priors={tmp_path / 'priors'},{params}"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    table = pd.read_csv(tmp_path / "08_reporting/priors/prior_scores.csv")
    assert table["value"].notna().all()
    assert all(name in result.stdout for name in table["score"])
    samples = [path.name for path in (tmp_path / "08_reporting/priors").glob("*_samples/*.png")]
    assert sorted(samples) == [
        "captions.png",
        "compounds.png",
        "held-out_family.png",
        "trained_families.png",
        "words.png",
    ]
    assert len(list((tmp_path / "08_reporting/priors/turntables").glob("*.png"))) == 2  # the height told, and found
    found = table["score"].str.endswith(", height found")
    assert {"reconstruction, PSNR, height found", "novel views, PSNR, height found"} <= set(table["score"][found])

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    values = dict(zip(table["score"].str.replace(",", "_"), table["value"], strict=True))
    assert run.data.metrics == pytest.approx(values)
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    tables = {f"{what}_scores.csv" for what in ("novel_view", "caption", "word", "reconstruction", "prior")}
    assert tables | {"novel_view_samples", "caption_samples", "word_samples", "reconstruction_turntables"} <= kept
