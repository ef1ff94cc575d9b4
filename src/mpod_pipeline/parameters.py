"""The base of every settings model: immutable, and a misspelt name is an error."""

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """Typed parameters of one step. Units stand in the names, bounds in the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)
