"""read: a photo's bytes as text. shout: the text in capitals, in two steps with a checkpoint between. A text that is an
error's name raises it in `shout`; SIGKILL is the process's end there.
"""

from __future__ import annotations

import builtins
import errno
import os
import signal
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from kedro.pipeline import Pipeline

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.batch import BatchParameters, BatchStep, Checkpoint, Report, Work, run_step
from mpod_pipeline.datasets import History, Partitions, Photos
from mpod_pipeline.pipelines.wiring import batch_node

READ = BatchStep("read", artifacts=("texts",), code_version=1)
SHOUT = BatchStep("shout", artifacts=("shouts",), code_version=1, made_by={"text": "read"})

#: (step, product) of every piece of work done, and how often a step's models were opened; tests empty it.
done: list[tuple[str, str]] = []
opened: list[str] = []


class ShoutParameters(Parameters):
    mark: str = "!"
    loud: bool = True


def read(photos: Photos, batch: BatchParameters, history: History) -> Iterator[dict[str, Any]]:
    yield from run_step(
        READ,
        _reader,
        inputs={"photo": photos},
        parameters=Parameters(),
        batch=batch,
        history=history,
        written_as=photos.written_as,
    )


def _reader() -> Work:
    opened.append("read")

    def work(inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None) -> dict[str, Any]:
        text = inputs["photo"].decode()
        done.append(("read", text))
        if text == "unusable":
            raise ProductError("The photo is unusable.")
        return {"texts": text}

    return work


def shout(
    texts: Partitions, parameters: ShoutParameters, batch: BatchParameters, history: History
) -> Iterator[dict[str, Any]]:
    yield from run_step(
        SHOUT,
        partial(_shouter, parameters),
        inputs={"text": texts},
        parameters=parameters,
        batch=batch,
        history=history,
    )


def _shouter(parameters: ShoutParameters) -> Work:
    opened.append("shout")

    def work(inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None) -> dict[str, Any]:
        text = inputs["text"]
        done.append(("shout", text))
        half = (checkpoint.load() if checkpoint else None) or {"text": text.upper()}
        report(1, 2, {"volume": 0.5})
        if checkpoint:
            checkpoint.save(half)
        report(2, 2, {"volume": 0.25})
        if text == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "NoSpace":
            raise OSError(errno.ENOSPC, "No space left on device")
        if isinstance(getattr(builtins, text, None), type):
            raise getattr(builtins, text)("as asked")
        return {"shouts": [half["text"] + parameters.mark, seed]}

    return work


def register_pipelines() -> dict[str, Pipeline]:
    toy = Pipeline(
        [
            batch_node(read, READ, {"photos": "photos"}),
            batch_node(shout, SHOUT, {"texts": "texts", "parameters": "params:shout"}),
        ]
    )
    return {"__default__": toy, "toy": toy}
