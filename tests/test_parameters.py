"""Settings are typed, misspelt names are errors, and setting one leaves the others as they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader
from pydantic import ValidationError

from mpod_pipeline import settings
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.hooks.checks import check_names
from mpod_pipeline.method.detail import DetailParameters
from mpod_pipeline.method.evaluation import EvaluationParameters
from mpod_pipeline.method.masks import MaskParameters
from mpod_pipeline.method.outline import OutlineParameters
from mpod_pipeline.method.textual_inversion import TextualInversionParameters
from mpod_pipeline.priors.sds import SdsParameters
from tests.command import ROOT


def test_setting_one_name_of_a_section_keeps_the_steps_own_defaults() -> None:
    default = OutlineParameters()
    set_one = OutlineParameters.model_validate({"sds": {"guidance_scale": 4.0}})
    assert set_one.sds == default.sds.model_copy(update={"guidance_scale": 4.0})
    deeper = OutlineParameters.model_validate({"field": {"hash_grid": {"levels": 4}}})
    assert deeper.field.hash_grid == default.field.hash_grid.model_copy(update={"levels": 4})
    assert deeper.model_copy(update={"field": default.field}) == default
    assert DetailParameters.model_validate({"sds": {"weight": 3.0}}).sds.start == DetailParameters().sds.start


@pytest.mark.parametrize(("name", "value"), [("photo_elevation_deg", 25), ("products", 25), ("workspace", "elsewhere")])
def test_what_an_environment_may_not_set_in_its_parameters_it_is_told(name: str, value: object, tmp_path: Path) -> None:
    """Kedro fills globals into the base's parameters before it merges the environment's."""
    shutil.copytree(ROOT / "conf/base", tmp_path / "base")
    (tmp_path / "mine").mkdir()
    loader = OmegaConfigLoader(str(tmp_path), env="mine", **settings.CONFIG_LOADER_ARGS)
    check_names(loader)
    (tmp_path / "mine/parameters.yml").write_text(f"{name}: {value}")
    with pytest.raises(SetupError, match=rf"'{name}' has no effect in conf/mine/parameters.yml.*globals\.yml"):
        check_names(OmegaConfigLoader(str(tmp_path), env="mine", **settings.CONFIG_LOADER_ARGS))
    (tmp_path / "mine/parameters.yml").unlink()
    (tmp_path / "mine/globals.yml").write_text(f"{name}: {value}")
    loader = OmegaConfigLoader(str(tmp_path), env="mine", **settings.CONFIG_LOADER_ARGS)
    check_names(loader)
    assert loader["parameters"][name] == value
    assert loader["parameters"]["segmentation"]["photo_elevation_deg"] == (25 if name.startswith("photo_") else "auto")


def test_a_misspelt_name_is_an_error_at_any_depth() -> None:
    for wrong in ({"step": 3}, {"sds": {"guidance": 4.0}}, {"field": {"hash_grid": {"level": 4}}}):
        with pytest.raises(ValidationError, match="Extra inputs"):
            OutlineParameters.model_validate(wrong)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: SdsParameters(guidance_scale=3.0, start=(0.9, 0.5)),
        lambda: SdsParameters(guidance_scale=3.0, end=(0.5, 1.5)),
        lambda: TextualInversionParameters(noise=(-0.1, 0.5)),
        lambda: OutlineParameters(elevation_deg=(50.0, -10.0)),
        lambda: MaskParameters(elevations_deg=(0.0, 95.0)),
        lambda: EvaluationParameters(azimuths=1),
        lambda: EvaluationParameters(elevation_deg=100.0),
    ],
)
def test_numbers_out_of_bounds_are_refused(nonsense: Callable[[], Parameters]) -> None:
    with pytest.raises(ValidationError):
        nonsense()
