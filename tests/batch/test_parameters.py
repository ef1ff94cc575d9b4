from __future__ import annotations

import pytest
from pydantic import ValidationError

from mpod_pipeline.batch import BatchParameters


@pytest.mark.parametrize(("given", "products"), [(None, None), ("mug", ("mug",)), (["mug", 7], ("mug", "7")), ([], ())])
def test_products_are_texts_however_they_are_given(given: object, products: object) -> None:
    batch = BatchParameters.model_validate(
        {"seed": 0, "max_failed_fraction": 0.5, "products": given, "force": False, "checkpoint_every_seconds": None}
    )
    assert batch.products == products


def test_a_fraction_is_a_fraction() -> None:
    with pytest.raises(ValidationError, match="max_failed_fraction"):
        BatchParameters(seed=0, max_failed_fraction=50, products=None, force=False, checkpoint_every_seconds=None)
