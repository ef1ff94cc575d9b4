from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.loaders import TextualInversionLoaderMixin
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mpod_pipeline.datasets import ProductPartitions
from mpod_pipeline.datasets.codecs import CODECS, TOKEN
from mpod_pipeline.method.cutouts import Cutout, Cutouts


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("png", np.arange(48, dtype=np.uint8).reshape(4, 3, 4)),
        ("png", np.arange(12, dtype=np.uint8).reshape(4, 3)),
        ("glb", b"glTF\x02\x00"),
        ("json", {"nested": [1, 2.5, None, "ü"]}),
        ("traceback", "Traceback …\n"),
        ("script", {"title": "</script> ü \u2028", "numbers": [1, 2.5, None]}),
        ("usdz", b"PK\x03\x04"),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, name: str, value: Any) -> None:
    codec = CODECS[name]
    path = tmp_path / f"a{codec.suffixes[0]}"
    codec.write(value, path)
    assert np.array_equal(codec.read(path), value) if name == "png" else codec.read(path) == value


def test_cutouts_lie_side_by_side_and_know_their_cameras(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (2, 4, 4, 4), np.uint8)
    photos = Cutouts((Cutout(pictures[0], 12.5), Cutout(pictures[1], 3.25, 180.0, "back")))
    codec, path = CODECS["cutouts"], tmp_path / "mug.png"
    codec.write(photos, path)
    assert Image.open(path).size == (8, 4)
    read = codec.read(path)
    assert [(p.name, p.azimuth_deg, p.elevation_deg) for p in read.photos] == [("front", 0, 12.5), ("back", 180, 3.25)]
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(read.photos, photos.photos, strict=True))
    Image.open(path).save(path)  # by a program that keeps pixels alone
    with pytest.raises(ValueError, match="where its cameras stood"):
        codec.read(path)


def test_arrays_keep_their_names_types_and_values(tmp_path: Path) -> None:
    arrays = {"opacity": np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2), "mask": np.eye(2, dtype=bool)}
    masks = ProductPartitions(path=str(tmp_path), format="npz")
    masks.save({"a": arrays})
    read = masks.load()["a"]()
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)


class Pipe(TextualInversionLoaderMixin):
    """As much of a diffusers pipeline as `load_textual_inversion` needs."""

    hf_device_map = None
    components: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, folder: Path) -> None:
        (folder / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        self.tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
        size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        self.text_encoder = CLIPTextModel(CLIPTextConfig(vocab_size=3, **size))


def test_diffusers_loads_the_token(tmp_path: Path) -> None:
    embedding = torch.arange(8.0)
    tokens = ProductPartitions(path=str(tmp_path / "tokens"), format="token")
    tokens.save({"mug": embedding})
    pipe = Pipe(tmp_path)
    pipe.load_textual_inversion(str(tokens.load().path("mug")))
    index = pipe.tokenizer.convert_tokens_to_ids(TOKEN)
    assert torch.equal(pipe.text_encoder.get_input_embeddings().weight[index], embedding)
    assert torch.equal(tokens.load()["mug"](), embedding)


def test_the_older_bin_format_is_read(tmp_path: Path) -> None:
    torch.save({"_token_": torch.arange(4.0)}, tmp_path / "mug.bin")
    tokens = ProductPartitions(path=str(tmp_path), format="token").load()
    assert list(tokens) == ["mug"]
    assert torch.equal(tokens["mug"](), torch.arange(4.0))


def test_a_bin_file_that_brings_code_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    torch.save({"_token_": Bomb()}, tmp_path / "mug.bin")
    with pytest.raises(pickle.UnpicklingError):
        ProductPartitions(path=str(tmp_path), format="token").load()["mug"]()
    assert not (tmp_path / "exploded").exists()


def test_a_file_of_several_tokens_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4), "b": torch.zeros(4)}, tmp_path / "mug.bin")
    with pytest.raises(ValueError, match="2 tokens"):
        ProductPartitions(path=str(tmp_path), format="token").load()["mug"]()
