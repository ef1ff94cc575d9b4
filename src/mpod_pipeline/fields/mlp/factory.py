"""Which maker makes the network."""

from __future__ import annotations

from mpod_pipeline.fields.mlp.interface import MLP
from mpod_pipeline.rendering.volume import Maker


def make_mlp(inputs: int, outputs: int, width: int, maker: Maker = "cpu", *, seed: int = 0) -> MLP:
    """A network by the maker of a device, its matrices drawn from `seed`.

    Raises SetupError where the maker's package or device is absent, or the width is none of its.
    """
    if maker == "cuda":
        from mpod_pipeline.fields.mlp.tinycudann_ import TinyCudaMLP

        return TinyCudaMLP(inputs, outputs, width, seed)
    from mpod_pipeline.fields.mlp.torch_ import TorchMLP

    return TorchMLP(inputs, outputs, width, seed)
