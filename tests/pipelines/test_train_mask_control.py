"""The ControlNet on the mask: in a few steps on tiny networks it learns, is written, and is read again."""

from __future__ import annotations

from pathlib import Path

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.pipelines.train_mask_control.nodes import (
    TrainMaskControlParameters,
    measure_mask_control,
    train_mask_control,
)
from mpod_pipeline.priors.training import TrainingParameters
from tests.priors.tiny import save_tiny_text_to_image


def test_it_is_trained_and_measured(tmp_path: Path) -> None:
    prior = Weights(save_tiny_text_to_image(tmp_path / "text_to_image"), "cpu")
    p = TrainMaskControlParameters(
        checkpoints=tmp_path / "checkpoints",
        products=3,
        validation_products=2,
        views=2,
        workers=1,
        training=TrainingParameters(steps=20, batch_size=4, learning_rate=0.003, warmup_steps=0, ema_decay=0.5),
    )
    write, curve = train_mask_control(prior, p)
    write(tmp_path / "mask_control")
    assert [step for step, _ in curve] == [10, 20]
    table = measure_mask_control(Weights(tmp_path / "mask_control", "cpu"), prior, p)
    (errors,) = table.to_dict("records")
    assert errors["own_mask"] < errors["no_mask"]  # of a prior that knows nothing, and learns by it
    assert errors["own_mask"] != errors["other_mask"]
