"""Settings are typed, misspelt names are errors, and setting one leaves the others as they were."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mpod_pipeline.method.detail import DetailParameters
from mpod_pipeline.method.outline import OutlineParameters


def test_setting_one_name_of_a_section_keeps_the_stages_own_defaults() -> None:
    default = OutlineParameters()
    set_one = OutlineParameters.model_validate({"sds": {"guidance_scale": 4.0}})
    assert set_one.sds == default.sds.model_copy(update={"guidance_scale": 4.0})
    deeper = OutlineParameters.model_validate({"field": {"hash_grid": {"levels": 4}}})
    assert deeper.field.hash_grid == default.field.hash_grid.model_copy(update={"levels": 4})
    assert deeper.model_copy(update={"field": default.field}) == default
    assert DetailParameters.model_validate({"sds": {"weight": 3.0}}).sds.start == DetailParameters().sds.start


def test_a_misspelt_name_is_an_error_at_any_depth() -> None:
    for wrong in ({"step": 3}, {"sds": {"guidance": 4.0}}, {"field": {"hash_grid": {"level": 4}}}):
        with pytest.raises(ValidationError, match="Extra inputs"):
            OutlineParameters.model_validate(wrong)
