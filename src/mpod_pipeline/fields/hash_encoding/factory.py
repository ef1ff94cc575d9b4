"""Which maker encodes."""

from __future__ import annotations

from mpod_pipeline.fields.hash_encoding.interface import HashEncoding, HashGridParameters
from mpod_pipeline.rendering.volume import Maker


def make_hash_encoding(
    parameters: HashGridParameters, maker: Maker = "cpu", *, seed: int = 0
) -> HashEncoding:
    """The hash encoding by the maker of a device, its table drawn from `seed`.

    Raises SetupError where the maker's package or device is absent.
    """
    if maker == "cuda":
        from mpod_pipeline.fields.hash_encoding.tinycudann_ import TinyCudaHashEncoding

        return TinyCudaHashEncoding(parameters, seed)
    from mpod_pipeline.fields.hash_encoding.numba_ import NumbaHashEncoding

    return NumbaHashEncoding(parameters, seed)
