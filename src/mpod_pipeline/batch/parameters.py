"""Settings of a batch as a whole."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from mpod_pipeline.base.parameters import Parameters


class ExecutorParameters(Parameters):
    """Where the work is done: by processes of this machine, by workers that Ray places, or one product at a time in the
    run's own process (for a debugger).
    """

    kind: Literal["processes", "ray", "in_process"] = "processes"
    #: Of the Ray cluster: "auto" for the one that runs on this machine, HOST:PORT, or "local" to start one for the
    #: run alone.
    address: str = "local"
    #: Workers, each with its own copy of the models; None for as many as pay: a process per core, as far as products
    #: and free memory go, or as many as Ray's cluster can hold.
    workers: int | None = Field(default=None, ge=1)


class Resources(Parameters):
    """What one Ray worker of a step takes of its machine. Parts of a GPU are shared."""

    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _something(self) -> Resources:
        if not self.num_cpus and not self.num_gpus:
            raise ValueError("a worker takes something: num_cpus and num_gpus cannot both be 0")
        return self


class BatchParameters(Parameters):
    """How a batch is run, whatever the step."""

    #: Every product and step draws its own seed from this one, the step's name and the product's id.
    seed: int = Field(ge=0)
    #: The run as a whole fails (after finishing what it can) if more than this fraction of its products failed.
    max_failed_fraction: float = Field(ge=0, le=1)
    #: Only these products; None for all.
    products: tuple[str, ...] | None
    #: Make again what is already made.
    force: bool
    #: Long work inside one product writes down its state every so many seconds, and goes on from there after a kill;
    #: None: it starts anew.
    checkpoint_every_seconds: float | None = Field(ge=0)
    executor: ExecutorParameters = ExecutorParameters()
    #: By step; without an entry, one CPU.
    resources: dict[str, Resources] = Field(default_factory=dict)

    def resources_of(self, step: str) -> Resources:
        return self.resources.get(step, Resources())

    @field_validator("products", mode="before")
    @classmethod
    def _texts(cls, products: object) -> object:
        """A single id is a list of one; an id that YAML took for a number is a text again."""
        if products is None:
            return None
        return tuple(str(product) for product in (products if isinstance(products, list | tuple) else [products]))
