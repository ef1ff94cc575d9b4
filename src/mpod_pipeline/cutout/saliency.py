"""Where in a photo the product is, by a network for salient objects: U²-Net-p, which lies beside this module, or
another of its family.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.base.errors import SetupError

FloatArray = NDArray[np.floating[Any]]

#: Mean and deviation of the pixels with which the networks were trained: ImageNet's, and IS-Net's.
IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
ISNET = np.array([[0.5] * 3, [1.0] * 3], np.float32)


class SaliencyNetwork:
    """A network for salient objects in ONNX, with the pictures prepared as its family wants them."""

    def __init__(self, session: Any, normalisation: FloatArray) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._size = tuple(session.get_inputs()[0].shape[2:])
        self._output = session.get_outputs()[0].name
        self._mean, self._deviation = normalisation

    def __call__(self, photo: NDArray[np.uint8]) -> FloatArray:
        """How likely each pixel of a photo [H, W, 3] shows the product, [H, W] in [0, 1]."""
        height, width = photo.shape[:2]
        small = cv2.resize(photo, self._size[::-1], interpolation=_by(photo.shape, self._size))
        pixels = small.astype(np.float32) / max(1, small.max())
        tensor = ((pixels - self._mean) / self._deviation).transpose(2, 0, 1)[None]
        (answer,) = self._session.run([self._output], {self._input: np.ascontiguousarray(tensor)})
        likely = answer[0, 0]
        if likely.min() < -0.5 or likely.max() > 1.5:  # BiRefNet answers in log-odds
            likely = 1 / (1 + np.exp(-likely))
        enlarged = cv2.resize(likely, (width, height), interpolation=_by(self._size, photo.shape))
        return enlarged.clip(0, 1).astype(np.float32)


def _by(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    return cv2.INTER_AREA if before[0] * before[1] > after[0] * after[1] else cv2.INTER_CUBIC


def load_saliency_network(path: Path | None = None) -> SaliencyNetwork:
    """The network of a file, as rembg keeps them (U²-Net, IS-Net, BiRefNet in ONNX); without one the embedded U²-Net-p.

    Raises SetupError where the file is missing or no such network.
    """
    if path is None:
        with as_file(files(__package__) / "u2netp/u2netp.onnx") as embedded:
            return SaliencyNetwork(_open(embedded), IMAGENET)
    if not path.is_file():
        raise SetupError(
            f"The network '{path}' is missing; set segmentation.network to an ONNX file of U²-Net, IS-Net or BiRefNet, "
            "as rembg keeps them in ~/.u2net, or leave it out for the embedded one."
        )
    # Nothing in the files tells the families apart, and rembg goes by their names as well.
    return SaliencyNetwork(_open(path), ISNET if path.name.startswith("isnet") else IMAGENET)


def _open(path: Path) -> Any:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning take the time of whatever else works on this machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds of error have no common base
        raise SetupError(f"The network '{path}' cannot be opened as ONNX: {error}") from error
    takes, gives = session.get_inputs(), session.get_outputs()
    if len(takes) != 1 or not _is_picture(takes[0].shape, 3) or len(gives[0].shape) != 4:
        raise SetupError(f"The network '{path}' takes no single picture [1, 3, H, W]; it is of another family.")
    return session


def _is_picture(shape: list[Any], channels: int) -> bool:
    return len(shape) == 4 and shape[1] == channels and all(isinstance(side, int) for side in shape[2:])
