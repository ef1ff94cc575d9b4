"""Files of weights are opened without running what they hold, and compared with the hash that is expected."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.weights_files import check_sha256, on_device, read_tensors
from mpod_pipeline.cutout.sam import SamParameters, load_sam
from mpod_pipeline.metrics.encoders import OpenClipParameters, load_open_clip, load_vgg19
from tests.priors.layouts import Trap


def test_both_formats_are_read(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        assert torch.equal(read_tensors(tmp_path / name)["a"], tensors["a"])


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_download_that_broke_off_or_is_a_web_page_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for content in (b"<html>Not found</html>", b"", b"\x00" * 100):
        path.write_bytes(content)
        with pytest.raises(SetupError, match="download it again"):
            read_tensors(path)


@pytest.mark.parametrize("reader", ["sam", "vgg19", "open_clip"])
def test_a_pickle_that_brings_code_is_refused_and_not_run(reader: str, tmp_path: Path) -> None:
    path, victim = tmp_path / "w.pth", tmp_path / "victim"
    torch.save({"trap": Trap(victim)}, path)
    with pytest.raises(SetupError):
        if reader == "sam":
            load_sam(SamParameters(checkpoint=path, model_type="vit_b"))
        elif reader == "vgg19":
            load_vgg19(path)
        else:
            load_open_clip(OpenClipParameters(model="RN50", pretrained=str(path)))
    assert not victim.exists()


def test_hashes_may_be_given_by_their_beginning(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    check_sha256(tmp_path / "w", digest)
    check_sha256(tmp_path / "w", digest[:8].upper())
    with pytest.raises(SetupError, match=digest):
        check_sha256(tmp_path / "w", digest[1:])


def test_a_wrong_hash_stops_a_model_before_it_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "vgg19-dcbb9e9d.pth"  # torchvision's name, which says the hash
    torch.save({}, path)
    with pytest.raises(SetupError, match="dcbb9e9d was expected"):
        load_vgg19(path)
    with pytest.raises(SetupError, match="SHA-256"):
        load_sam(SamParameters(checkpoint=path, sha256="0" * 64))
    with pytest.raises(SetupError, match="SHA-256"):
        load_open_clip(OpenClipParameters(model="RN50", pretrained=str(path), sha256="0" * 64))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_an_error_not_the_cpu() -> None:
    with pytest.raises(SetupError, match="device 'cuda'"):
        on_device(torch.nn.Linear(1, 1), "cuda")
