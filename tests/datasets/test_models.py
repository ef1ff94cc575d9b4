"""A folder of models: which there are, what they are called, and which are kept aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.datasets import Models
from mpod_pipeline.datasets.models import ModelFolder, caption_of, split_of


def folder_of(tmp_path: Path, *names: str, table: str | None = None) -> ModelFolder:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    if table is not None:
        (tmp_path / "Models.csv").write_text(table)
    return ModelFolder(path=str(tmp_path))


def test_without_a_folder_there_are_no_models() -> None:
    assert list(ModelFolder(path=None).load()) == []


def test_a_folders_glbs_are_its_models(tmp_path: Path) -> None:
    models = folder_of(tmp_path, "Tin_can-02_b.GLB", "a_jar.glb", "notes.txt", ".hidden.glb").load()
    assert [(model.name, model.caption) for model in models] == [("Tin_can-02_b", "tin can"), ("a_jar", "jar")]
    assert models[1]() == b"a_jar.glb"
    assert caption_of("0815") == "0815"


def test_about_a_fifth_is_kept_aside_by_name_alone() -> None:
    names = [f"jar_{i}" for i in range(400)]
    kept = {name for name in names if split_of(name) == "validation"}
    assert 50 < len(kept) < 110
    assert kept == {name for name in reversed(names) if split_of(name) == "validation"}


def test_a_table_names_the_models_and_says_more_of_them(tmp_path: Path) -> None:
    table = "File;caption;split;front;up\nmore/pan.glb;frying pan;Validation;x;-Z\njar.glb;;train;;\n"
    models = folder_of(tmp_path, "jar.glb", "more/pan.glb", "other.glb", table=table).load()
    jar, pan = models
    assert (jar.caption, jar.split, jar.front, jar.up) == ("jar", "train", "+z", "+y")
    assert (pan.caption, pan.split, pan.front, pan.up) == ("frying pan", "validation", "+x", "-z")
    assert models.of_split("validation") == [pan]


def test_a_models_digest_is_of_its_content_and_of_what_is_said_of_it(tmp_path: Path) -> None:
    def digest(content: bytes, caption: str) -> str:
        models: Models = folder_of(tmp_path, table=f"file,caption\njar.glb,{caption}\n").load()
        (tmp_path / "jar.glb").write_bytes(content)
        said: str = models[0].digest()
        return said

    assert digest(b"one", "jar") == digest(b"one", "jar")
    assert len({digest(b"one", "jar"), digest(b"two", "jar"), digest(b"one", "tin")}) == 3


def test_a_file_that_is_not_there_is_that_models_trouble(tmp_path: Path) -> None:
    models = folder_of(tmp_path, table="file\nabsent.glb\n").load()
    with pytest.raises(ProductError, match=r"absent\.glb cannot be read"):
        models[0].digest()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (None, "no model"),
        ("file\n", "no model"),
        ("model\njar.glb\n", "no column file"),
        ("file,split\njar.glb,test\n", "line 2: the split is 'test'"),
        ("file,front\njar.glb,north\n", r"line 2: front is '\+north'"),
        ("file,front,up\njar.glb,+y,-y\n", "right angle"),
        ("file,caption\n,jar\n", "line 2: the cell of the column file is empty"),
        ("file\njar.glb\nmore/jar.glb\n", r"one name \(jar\)"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, table: str | None, told: str) -> None:
    with pytest.raises(Exception, match=told):
        folder_of(tmp_path, table=table).load()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="does not exist; set it by --params=models=FOLDER"):
        ModelFolder(path=str(tmp_path / "absent")).load()
