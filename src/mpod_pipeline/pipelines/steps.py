"""Steps as Kedro's nodes, and each as a pipeline of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import pandas as pd
from kedro.pipeline import Node, Pipeline, node

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.base.weights import Weights
from mpod_pipeline.batch import BatchParameters, BatchStep, Checkpoint, History, Report, Work, part_of_outputs, run_step
from mpod_pipeline.batch.records import read_record
from mpod_pipeline.datasets.products_csv import SETTINGS
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.method.comparison.parameters import CompareParameters
from mpod_pipeline.method.steps import STEPS, Given, Step
from mpod_pipeline.pipelines.wiring import EVERY_STEP_READS, batch_node
from mpod_pipeline.publish.settings import PublishParameters
from mpod_pipeline.publish.steps import MAKER_OF, TargetStep

logger = logging.getLogger(__name__)

#: The step whose artifacts are the rows of the table of scores.
SCORED_BY = "evaluate"


def step_pipeline(step: Step) -> Pipeline:
    """The step's node; with the scores, the table of them."""
    return Pipeline([step_node(step), *([scores_node()] if step.name == SCORED_BY else [])])


def step_node(step: Step, only_for: Collection[str] = ()) -> Node:
    """The node of a step: its inputs, settings and weights, and what `batch_node` adds.

    only_for: methods of a comparison; it does nothing where none of them is compared.
    """
    inputs = {**step.needs, **{name: name for name in step.priors}, "parameters": f"params:{step.section}"}
    if set(SETTINGS) & step.settings.model_fields.keys():  # they may differ per product
        inputs["product_settings"] = "product_settings"
    if isinstance(step, TargetStep):
        inputs["publish"] = "params:publish"
    if only_for:
        inputs["compare"] = "params:compare"
    return batch_node(node_function(step, inputs, only_for), batch_step(step), inputs)


def node_function(
    step: Step, inputs: Mapping[str, str], only_for: Collection[str] = ()
) -> Callable[..., Iterator[dict[str, Any]]]:
    """What Kedro calls. Its annotations let Kedro validate the settings."""

    def run(**given: Any) -> Iterator[dict[str, Any]]:
        not_asked = isinstance(step, TargetStep) and step.target not in given["publish"].targets
        if not_asked or (only_for and not set(only_for) & set(given["compare"].methods)):
            yield part_of_outputs(batch_step(step))
            return
        unused = step.unused(given["parameters"])
        needs = {name: given[name] for name in step.needs if name not in unused}
        products = next(iter(needs.values()))
        priors: dict[str, Weights] = {name: given[name] for name in step.priors if name not in unused}
        yield from run_step(
            batch_step(step),
            partial(open_step, step, given["parameters"], priors),
            inputs=needs,
            parameters=given["parameters"],
            batch=given["batch"],
            history=given["history"],
            weights=[place for weights in priors.values() for place in weights.places],
            written_as=getattr(products, "written_as", str),
            product_settings=given.get("product_settings"),
        )

    types = {"batch": BatchParameters, "publish": PublishParameters, "compare": CompareParameters}
    types["parameters"] = step.settings
    annotations = {name: types.get(name, Any) for name in (*inputs, *EVERY_STEP_READS)}
    run.__name__ = run.__qualname__ = step.name
    run.__doc__ = step.purpose
    run.__annotations__ = {**annotations, "return": Iterator[dict[str, Any]]}
    arguments = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in annotations.items()]
    vars(run)["__signature__"] = Signature(arguments)
    return run


def batch_step(step: Step) -> BatchStep:
    """The step as the batch sees it."""
    makers = {name: MAKER_OF[need].name for name, need in step.needs.items() if need in MAKER_OF}
    return BatchStep(step.name, step.makes, step.code_version, made_by=makers, optional=step.optional)


def open_step(step: Step, settings: Parameters, priors: Mapping[str, Weights]) -> Work:
    """Load the step's models, once per worker; what is given back makes one product's artifacts."""
    models = step.load(settings, priors)

    def work(inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None) -> dict[str, Any]:
        own, product, fingerprint = (inputs[name] for name in ("parameters", "product", "fingerprint"))
        made = step.make(models, Given(product, inputs, own, seed, report, checkpoint, fingerprint))
        return {name: _handed_over(artifact) for name, artifact in made.items()}

    return work


def _handed_over(artifact: Any) -> Any:
    """The artifact as another process may take it, which may have no GPU."""
    return artifact.stored() if isinstance(artifact, OutlineField | PaintedSurface) else artifact


def scores_node() -> Node:
    inputs = ["evaluations", f"{SCORED_BY}_records", "history"]
    return node(tabulate_scores, inputs, "scores", name="tabulate_scores", tags=[SCORED_BY])


def tabulate_scores(evaluations: Any, records: Any, history: History) -> pd.DataFrame:
    """One row per product whose evaluation stands, with its scores and the seconds of each step."""
    rows = []
    for product in evaluations:
        record = read_record(records, product)
        if record and record.state == "made":
            try:
                scores = evaluations[product]()
            except (OSError, ValueError) as error:  # of a product that this run did not look at
                logger.warning("The scores of %s cannot be read and are left out: %s", product, error)
                continue
            rows.append({"product": product, **scores, **_seconds(history, product)})
    return pd.DataFrame(rows, columns=None if rows else ["product"])


def _seconds(history: History, product: str) -> dict[str, float]:
    records = {step.name: read_record(history.records(step.name), product) for step in STEPS}
    return {f"seconds_{step}": record.seconds for step, record in records.items() if record}
