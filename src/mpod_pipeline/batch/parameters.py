"""Settings of a batch as a whole."""

from __future__ import annotations

from pydantic import Field, field_validator

from mpod_pipeline.parameters import Parameters


class BatchParameters(Parameters):
    """How a batch is run, whatever the stage."""

    #: Every product and stage draws its own seed from this one, the stage's name and the product's id.
    seed: int = Field(ge=0)
    #: The run as a whole fails (after finishing what it can) if more than this fraction of its products
    #: failed.
    max_failed_fraction: float = Field(ge=0, le=1)
    #: Only these products; None for all.
    products: tuple[str, ...] | None
    #: Make again what is already made.
    force: bool
    #: Long work inside one product writes down its state every so many seconds, and goes on from there after a kill;
    #: None: it starts anew.
    checkpoint_every_seconds: float | None = Field(ge=0)

    @field_validator("products", mode="before")
    @classmethod
    def _texts(cls, products: object) -> object:
        """A single id is a list of one; an id that YAML took for a number is a text again."""
        if products is None:
            return None
        return tuple(
            str(product) for product in (products if isinstance(products, list | tuple) else [products])
        )
