"""Folders of weights: local, or in the hub client's cache, and never downloaded by a run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from huggingface_hub import constants

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.datasets import WeightsFolder

REVISION = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub client's cache, empty; and no way to the network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a run must not use the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_a_pinned_revision_is_found_in_the_hubs_cache(cache: Path) -> None:
    snapshot = cache / "models--owner--prior" / "snapshots" / REVISION
    (snapshot / "unet").mkdir(parents=True)
    (snapshot / "unet" / "config.json").write_text("{}")
    weights = WeightsFolder(hub="owner/prior", revision=REVISION, device="cuda").load()
    assert weights.path == snapshot
    assert weights.device == "cuda"


def test_what_is_not_in_the_cache_is_named_with_its_command(cache: Path) -> None:
    (cache / "models--owner--prior" / "snapshots" / ("0" * 40)).mkdir(parents=True)
    weights = WeightsFolder(hub="owner/prior", revision=REVISION).load()
    with pytest.raises(SetupError, match=f"hf download owner/prior --revision {REVISION}"):
        weights.verify()


def test_a_hub_repository_needs_its_revision() -> None:
    with pytest.raises(Exception, match="with its revision"):
        WeightsFolder(hub="owner/prior")


def test_a_local_folder_names_the_command_that_fills_it(cache: Path) -> None:
    folder = cache / "text_to_image"
    absent = WeightsFolder(path=str(folder), hub="owner/prior", revision=REVISION).load()
    with pytest.raises(SetupError, match=f"--local-dir '{folder}'"):
        absent.verify()
    folder.mkdir()
    assert WeightsFolder(path=str(folder), hub="owner/prior", revision=REVISION).load().path == folder


def test_slicing_of_the_autoencoder_is_the_catalogs_choice(tmp_path: Path) -> None:
    assert not WeightsFolder(path=str(tmp_path)).load().vae_slicing
    assert WeightsFolder(path=str(tmp_path), vae_slicing=True).load().vae_slicing


def test_adapters_are_named_in_the_catalog_and_count_as_weights(tmp_path: Path) -> None:
    plain, adapted = (
        WeightsFolder(path=str(tmp_path), adapters=adapters).load() for adapters in ([], ["/srv/a.safetensors"])
    )
    assert plain.places == [tmp_path] and plain.adapters == ()
    assert adapted.places == [tmp_path, Path("/srv/a.safetensors")]
