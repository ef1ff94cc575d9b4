"""Whole runs of the toy project: what is made, skipped, left out and written down."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import mlflow
import pytest
from kedro.framework.project import LOGGING
from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError

from mpod_pipeline.base.errors import SetupError, StoppedError
from mpod_pipeline.batch.lock import WorkspaceLock, who_holds
from mpod_pipeline.batch.under_way import UnderWay
from mpod_pipeline.datasets import ProductTable
from mpod_pipeline.hooks.batch import TooManyFailuresError
from tests.batch.conftest import ROOT, Toy


def test_what_is_done_is_not_done_again(toy: Toy) -> None:
    toy.write(mug="mug", shoe="shoe")
    assert toy.run() == [("read", "mug"), ("read", "shoe"), ("shout", "mug"), ("shout", "shoe")]
    assert toy.run() == []
    assert toy.opened == []  # no models are loaded for nothing
    assert toy.counts["shout"]["skipped"] == 2
    assert json.loads((toy.workspace / "shouts/mug.json").read_text())[0] == "MUG!"


def test_a_record_of_before_is_read(toy: Toy) -> None:
    """It names its step ``stage``."""
    toy.write(mug="mug")
    assert toy.run() == [("read", "mug"), ("shout", "mug")]
    records = list((toy.workspace / "records").glob("*/*.json"))
    assert len(records) == 2
    for file in records:
        record = json.loads(file.read_text())
        file.write_text(json.dumps({"stage": record.pop("step"), **record}))
    assert toy.run() == []


def test_models_are_opened_once_per_step(toy: Toy) -> None:
    toy.write(a="a", b="b", c="c")
    toy.run()
    assert toy.opened == ["read", "shout"]


def test_a_folder_that_lost_all_its_photos_stops_the_run_and_changes_nothing(toy: Toy) -> None:
    """As of a share that is not mounted."""
    toy.write(mug="mug")
    toy.run()
    (toy.photos / "mug.jpg").unlink()
    with pytest.raises(SetupError, match="No photo in"):
        toy.run()
    assert (toy.state("read", "mug"), toy.state("shout", "mug")) == ("made", "made")


def test_a_changed_parameter_redoes_the_steps_that_depend_on_it(toy: Toy) -> None:
    toy.write(mug="mug")
    toy.run()
    assert toy.run(shout={"mark": "?"}) == [("shout", "mug")]
    assert toy.run(nodes=["shout"], shout={"mark": "."}) == [("shout", "mug")]
    assert json.loads((toy.workspace / "shouts/mug.json").read_text())[0] == "MUG."


def test_a_changed_photo_redoes_its_product_alone(toy: Toy) -> None:
    toy.write(mug="mug", shoe="shoe")
    toy.run()
    toy.write(mug="cup!")
    assert toy.run() == [("read", "cup!"), ("shout", "cup!")]


def test_an_input_made_anew_with_the_same_content_changes_nothing_downstream(toy: Toy) -> None:
    toy.write(mug="mug")
    toy.run()
    os.utime(toy.photos / "mug.jpg", (1, 1))
    assert toy.run() == []
    assert toy.run(nodes=["read"], force=True) == [("read", "mug")]
    assert toy.run() == []


@pytest.mark.parametrize("damage", ["gone", "cut off", "other content of the same size"])
def test_a_damaged_artifact_is_made_again(toy: Toy, damage: str) -> None:
    toy.write(mug="mug")
    toy.run()
    path = toy.workspace / "texts/mug.json"
    if damage == "gone":
        path.unlink()
    else:
        path.write_text('"m' if damage == "cut off" else '"jug"\n')
    assert toy.run() == [("read", "mug")]  # the same text again, so `shout` stands
    assert json.loads(path.read_text()) == "mug"


def test_a_damaged_artifact_is_the_later_steps_failure_until_it_is_made_again(toy: Toy) -> None:
    toy.write(mug="mug", shoe="shoe")
    toy.run()
    (toy.workspace / "texts/mug.json").write_text('"m')
    assert toy.run(nodes=["shout"], force=True) == [("shout", "shoe")]
    assert [row[:3] for row in toy.failures()] == [["mug", "shout", "JSONDecodeError"]]
    assert toy.run() == [("read", "mug"), ("shout", "mug")]
    assert (toy.failures(), toy.state("shout", "mug")) == ([], "made")


def test_a_damaged_record_means_not_done(toy: Toy) -> None:
    toy.write(mug="mug")
    toy.run()
    (toy.workspace / "records/shout/mug.json").write_text('{"product": "m')
    assert toy.run() == [("shout", "mug")]


def test_a_failing_product_is_recorded_and_the_others_go_on(toy: Toy) -> None:
    toy.write(bad="unusable", mug="mug", shoe="shoe")
    toy.run()
    record = toy.record("read", "bad")
    assert record and (record.state, record.error, record.attempt) == ("failed", "ProductError", 1)
    assert record.message == "The photo is unusable."
    assert record.run_id and record.finished
    traceback = toy.workspace / "records/read" / record.traceback_file
    assert "ProductError" in traceback.read_text()
    assert toy.failures() == [["bad", "read", "ProductError", "The photo is unusable."]]
    assert toy.state("shout", "bad") == "none"
    assert [toy.state("shout", product) for product in ("mug", "shoe")] == ["made", "made"]


def test_a_failure_is_tried_again_and_a_mended_photo_clears_it(toy: Toy) -> None:
    toy.write(bad="unusable", mug="mug")
    toy.run()
    assert toy.run() == [("read", "unusable")]
    record = toy.record("read", "bad")
    assert record and record.attempt == 2
    toy.write(bad="good")
    assert toy.run() == [("read", "good"), ("shout", "good")]
    assert toy.failures() == []
    assert toy.state("read", "bad") == "made"
    assert not list((toy.workspace / "records/read").glob("*.traceback.txt"))


@pytest.mark.parametrize("error", ["RuntimeError", "ValueError", "MemoryError", "FloatingPointError", "OSError"])
def test_an_unforeseen_error_in_a_products_work_is_that_products(toy: Toy, error: str) -> None:
    toy.write(mug="mug", odd=error)
    toy.run()
    record = toy.record("shout", "odd")
    assert record and (record.state, record.error) == ("failed", error)
    assert toy.state("shout", "mug") == "made"


@pytest.mark.parametrize("error", ["TypeError", "KeyError", "NotImplementedError", "ImportError", "NoSpace"])
def test_a_bug_or_a_full_disk_stops_the_run_and_keeps_what_is_done(toy: Toy, error: str) -> None:
    toy.write(a="a", odd=error, zebra="zebra")
    with pytest.raises(OSError if error == "NoSpace" else getattr(builtins, error)):
        toy.run()
    assert [toy.state("shout", product) for product in ("a", "odd", "zebra")] == ["made", "none", "none"]
    toy.write(odd="even")
    assert ("shout", "a") not in toy.run()  # and the lock of the run before is free
    assert toy.state("shout", "zebra") == "made"


@pytest.mark.parametrize("told", ["KeyboardInterrupt", "SystemExit"])
def test_a_run_that_is_told_to_stop_closes_its_books(toy: Toy, mlflow_store: str, told: str) -> None:
    toy.write(a="a", bad="unusable", odd=told, zebra="zebra")
    with pytest.raises(StoppedError):
        toy.run()
    assert [toy.state("shout", product) for product in ("a", "odd", "zebra")] == ["made", "none", "none"]
    assert [row[0] for row in toy.failures()] == ["bad"]
    (summary,) = (json.loads(path.read_text()) for path in (toy.workspace / "runs").glob("*.json"))
    assert summary["verdict"] == "stopped" and "told to stop" in summary["stopped_by"]
    client = mlflow.MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("mpod_pipeline")
    assert experiment
    run = client.search_runs([experiment.experiment_id], max_results=1)[0]
    assert (run.info.status, run.data.tags["verdict"]) == ("FAILED", "stopped")
    toy.write(odd="even")
    assert toy.run() == [("read", "unusable"), ("read", "even"), ("shout", "even"), ("shout", "zebra")]


def test_a_photo_that_cannot_be_read_is_its_products_failure(toy: Toy) -> None:
    toy.write(mug="mug")
    (toy.photos / "folder.jpg").mkdir()
    rows = {"a": "folder.jpg", "b": "mug.jpg/b.jpg", "c": f"{'c' * 300}.jpg", "d": "absent.jpg", "mug": "mug.jpg"}
    table = "".join(f"{product},{photo}\n" for product, photo in rows.items())
    (toy.photos / "products.csv").write_text(f"id,photo\n{table}")
    for _ in range(2):
        toy.run()
        assert {product: toy.state("read", product) for product in rows} == dict.fromkeys("abcd", "failed") | {
            "mug": "made"
        }
        assert all("photo" in message for *_, message in toy.failures())
        assert toy.state("shout", "mug") == "made"


def test_a_failed_step_leaves_the_product_out_of_later_ones_until_it_is_well(toy: Toy) -> None:
    toy.write(mug="mug", shoe="shoe")
    toy.run()
    toy.write(mug="unusable")
    toy.run()
    assert (toy.state("read", "mug"), toy.state("shout", "mug")) == ("failed", "left out")
    toy.write(mug="mug")
    assert toy.run() == [("read", "mug")]  # what `shout` had made of the same text stands again
    assert toy.state("shout", "mug") == "made"


def test_a_photo_that_vanishes_is_no_error_and_may_come_back(toy: Toy) -> None:
    toy.write(mug="mug", shoe="shoe")
    toy.run()
    (toy.photos / "mug.jpg").unlink()
    assert toy.run() == []
    assert (toy.state("read", "mug"), toy.state("shout", "mug")) == ("left out", "left out")
    assert toy.failures() == []
    toy.write(mug="mug")
    assert toy.run() == []
    assert (toy.state("read", "mug"), toy.state("shout", "mug")) == ("made", "made")


def test_products_that_vanish_are_counted_and_told_when_they_go(
    toy: Toy, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write(mug="mug", shoe="shoe", lamp="lamp")
    toy.run()
    assert toy.counts["read"]["gone"] == 0
    (toy.photos / "mug.jpg").unlink()
    (toy.photos / "shoe.jpg").unlink()
    caplog.clear()
    capsys.readouterr()
    toy.run()
    assert toy.counts["read"]["gone"] == 2
    assert "read: no longer in the catalog: mug, shoe" in caplog.messages
    printed = capsys.readouterr().out.splitlines()
    header, row = (re.split("  +", line) for line in printed if line[:6] in ("step  ", "read  "))
    assert row[header.index("gone")] == "2"
    caplog.clear()
    toy.run()
    assert toy.counts["read"]["gone"] == 2 and "no longer" not in caplog.text  # as long as they are


def test_what_may_be_a_mistake_is_told_once_before_models_are_opened(
    toy: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    toy.write(mug="mug")
    (toy.photos / "products.csv").write_text("id,photo,long_side_m\nmug,mug.jpg,13\nbad,mug.jpg,x\n")
    toy.run()
    told = [message for message in caplog.messages if "long_side_m" in message or "bad failed" in message]
    assert len(told) == 3  # an entry that cannot be, centimetres, the failure
    assert "1 row with an entry that cannot be" in told[0] and "centimetres" in told[1] and "bad failed" in told[2]


def test_a_file_name_that_is_not_utf8_is_its_products_failure_every_night(toy: Toy) -> None:
    toy.write(mug="mug", zebra="zebra")
    (toy.photos / os.fsdecode(b"caf\xe9.jpg")).write_text("cafe")
    for night in (1, 2):
        toy.run()
        ((product, step, _, message),) = toy.failures()
        assert (product, step) == ("caf\\xe9", "read") and "UTF-8" in message
        (record,) = (Path(path) for path in (toy.workspace / "records/read").glob("unusable-*.json"))
        assert json.loads(record.read_text())["attempt"] == night
        assert [toy.state("shout", product) for product in ("mug", "zebra")] == ["made", "made"]


def test_pipes_and_devices_are_their_products_failures(toy: Toy) -> None:
    toy.write(mug="mug")
    os.mkfifo(toy.photos / "pipe.jpg")
    (toy.photos / "zero.jpg").symlink_to("/dev/zero")
    for _ in range(2):
        toy.run()
        assert [row[0] for row in toy.failures()] == ["pipe", "zero"]
        assert all("a pipe or a device" in row[3] for row in toy.failures())


def test_what_a_terminal_would_obey_is_told_as_an_escape(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write(mug="mug", odd="odd")
    (toy.photos / "products.csv").write_text("id,photo\nmug,mug.jpg\nred,\x1b[31mred.jpg\n\x1b]0;title\x07,mug.jpg\n")
    toy.run()
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out and "\x1b[31mred" not in captured.err
    assert "\x1b" not in (toy.workspace / "failures.csv").read_text()
    assert "\\x1b[31mred.jpg does not exist" in captured.out


def test_a_folder_in_place_of_an_artifact_is_its_products_failure(toy: Toy) -> None:
    toy.write(mug="mug", shoe="shoe")
    (toy.workspace / "texts/mug.json").mkdir(parents=True)
    for _ in range(2):
        toy.run()
        ((product, step, _, message),) = toy.failures()
        assert (product, step) == ("mug", "read")
        assert message == f"{toy.workspace / 'texts/mug.json'} is no file; please move it away."
        assert toy.state("shout", "shoe") == "made"
    (toy.workspace / "texts/mug.json").rmdir()
    assert toy.run() == [("read", "mug"), ("shout", "mug")]


@pytest.mark.parametrize(
    "place", ["records/read/mug.json", "records/.lock", "records", "texts", "failures.csv", "runs", "records/read"]
)
def test_what_is_in_the_way_of_the_books_is_told_in_a_sentence(toy: Toy, place: str) -> None:
    """A folder in a file's place, a file in a folder's."""
    toy.write(mug="mug")
    blocked = toy.workspace / place
    if place.endswith((".json", ".lock", ".csv")):
        blocked.mkdir(parents=True)
    else:
        blocked.parent.mkdir(parents=True, exist_ok=True)
        blocked.touch()
    with pytest.raises((SetupError, DatasetError)) as error:
        toy.run()
    cause: BaseException | None = error.value
    while cause and not isinstance(cause, SetupError):
        cause = cause.__cause__
    assert cause and str(blocked) in str(cause) and "cannot be written" in str(cause)


def test_a_workspace_that_cannot_be_written_is_told_in_a_sentence(toy: Toy) -> None:
    toy.write(mug="mug")
    for place in (toy.photos / "mug.jpg", Path("/proc/nobody/writes/here")):
        toy.workspace = place
        with pytest.raises(SetupError, match="The workspace cannot be written: "):
            toy.run()


def test_what_lies_in_the_place_of_a_marker_or_a_checkpoint_is_in_nobodys_way(toy: Toy) -> None:
    toy.write(mug="mug")
    for place in (
        "records/.at_work.read.json",
        "records/.under_way.read.json",
        "records/.weights.json",
        "checkpoints/read/mug.pt",
    ):
        (toy.workspace / place).mkdir(parents=True)
    assert toy.run() == [("read", "mug"), ("shout", "mug")]
    assert toy.run() == []


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000])
def test_a_record_nested_beyond_all_measure_means_not_done(toy: Toy, text: str) -> None:
    toy.write(mug="mug")
    toy.run()
    (toy.workspace / "records/shout/mug.json").write_text(text)
    (toy.workspace / "records/.at_work.read.json").write_text(text)
    assert toy.run() == [("shout", "mug")]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_that_lacks_a_letter_of_an_id_gets_an_escape(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    toy.write(mug="mug", **{"👟": "unusable"})
    output = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(output, encoding=encoding, write_through=True))
    toy.run()
    shown = "👟" if encoding == "utf-8" else "\\U0001f45f"
    assert f"failed: {shown} in read" in output.getvalue().decode(encoding)


def test_who_looks_on_sees_what_is_at_work(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(*_: object) -> None:
        run = who_holds(toy.workspace / "records/.lock")
        assert run
        seen.append([UnderWay(toy.workspace / "records", step, run.run).read() for step in ("read", "shout")])

    monkeypatch.setattr("mpod_pipeline.batch.progress.StepProgress._show", look)  # at each of the two steps
    toy.write(mug="mug", shoe="shoe")
    toy.run()
    assert seen == [[set(), {product}] for product in ("mug", "mug", "shoe", "shoe")]
    assert not list(toy.workspace.rglob(".under_way*"))


def test_photos_arrive_between_runs_whatever_their_ids(toy: Toy) -> None:
    arrivals = [{"m": "m1"}, {"a": "a1", "z": "z1"}, {"10": "x1", "9": "x2"}, {"Z": "Z1", "ä": "ä1"}]
    for photos in arrivals:
        toy.write(**photos)
        expected = {(step, text) for step in ("read", "shout") for text in photos.values()}
        done = toy.run()
        assert set(done) == expected and len(done) == len(expected)
    assert toy.run() == []


def test_products_and_force(toy: Toy) -> None:
    toy.write(mug="mug", shoe="shoe")
    toy.run(products=["shoe"])
    assert toy.state("read", "mug") == "none"
    assert toy.run(products=["mug", "shoe"], force=True) == [
        ("read", "mug"),
        ("read", "shoe"),
        ("shout", "mug"),
        ("shout", "shoe"),
    ]
    with pytest.raises(SetupError, match="no product 'mugg'"):
        toy.run(products=["mugg"])


def test_a_chosen_product_that_fails_early_is_not_unknown_later(toy: Toy) -> None:
    toy.write(bad="unusable", mug="mug")
    toy.run(products=["bad"], batch={"max_failed_fraction": 1})
    assert toy.state("read", "bad") == "failed"


def test_ids_that_are_no_file_names_end_as_failures_inside_the_workspace(toy: Toy, tmp_path: Path) -> None:
    toy.write(mug="mug")
    rows = "id,photo\n../evil,mug.jpg\na/b,mug.jpg\nmug,mug.jpg\nescape,../secret.jpg\nlost,lost.jpg\n"
    (toy.photos / "products.csv").write_text(rows)
    (tmp_path / "secret.jpg").write_text("secret")
    before = {path for path in tmp_path.rglob("*") if toy.workspace not in path.parents}
    assert toy.run() == [("read", "mug"), ("shout", "mug")]
    assert sorted(row[0] for row in toy.failures()) == ["../evil", "a/b", "escape", "lost"]
    assert {path for path in tmp_path.rglob("*") if toy.workspace not in path.parents} - {toy.workspace} == before


def test_too_many_failures_fail_the_run_after_all_is_done(toy: Toy) -> None:
    toy.write(a="unusable", b="RuntimeError", c="c", d="d")
    toy.run(batch={"max_failed_fraction": 0.5})
    with pytest.raises(TooManyFailuresError, match="50%"):
        toy.run(batch={"max_failed_fraction": 0.4})
    assert toy.state("shout", "d") == "made"


@pytest.mark.parametrize("typo", [{"photo": "x"}, {"shout": {"marks": "?"}}, {"batch": {"seeds": 1}}])
def test_a_typo_stops_before_any_node(toy: Toy, typo: dict[str, object]) -> None:
    toy.write(mug="mug")
    with pytest.raises((SetupError, ParameterValidationError)):
        toy.run(**typo)
    assert not toy.workspace.exists()


def test_seeds_differ_between_products_and_not_between_runs(toy: Toy) -> None:
    toy.write(mug="same", shoe="same")
    toy.run()
    seeds = {p: json.loads((toy.workspace / f"shouts/{p}.json").read_text())[1] for p in ("mug", "shoe")}
    assert seeds["mug"] != seeds["shoe"]
    toy.run(force=True)
    assert json.loads((toy.workspace / "shouts/mug.json").read_text())[1] == seeds["mug"]
    toy.run(batch={"seed": 1})
    assert json.loads((toy.workspace / "shouts/mug.json").read_text())[1] != seeds["mug"]


def test_a_second_run_says_so_and_stops(toy: Toy) -> None:
    toy.write(mug="mug")
    lock = WorkspaceLock(toy.workspace / "records/.lock")
    lock.acquire("the first")
    with pytest.raises(SetupError, match="the first"):
        toy.run()
    lock.release()
    assert toy.run() == [("read", "mug"), ("shout", "mug")]


def test_models_are_not_looked_at_beside_another_run_nor_leave_the_lock_behind(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object) -> None:
        raise SetupError("weights are missing")

    toy.write(mug="mug")
    lock = WorkspaceLock(toy.workspace / "records/.lock")
    lock.acquire("the first")
    with monkeypatch.context() as patch:
        patch.setattr("mpod_pipeline.hooks.preflight.check_run", lacking)
        with pytest.raises(SetupError, match="the first"):
            toy.run()
        lock.release()
        with pytest.raises(SetupError, match="weights are missing"):
            toy.run()
    assert toy.run() == [("read", "mug"), ("shout", "mug")]


def test_the_lock_of_a_killed_run_does_not_block(toy: Toy) -> None:
    toy.write(mug="mug")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
            import sys, time
            from pathlib import Path
            from mpod_pipeline.batch.lock import WorkspaceLock
            WorkspaceLock(Path({str(toy.workspace / "records/.lock")!r})).acquire("doomed")
            print("locked", flush=True)
            time.sleep(60)
            """),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout and holder.stdout.readline() == "locked\n"
    with pytest.raises(SetupError, match="doomed"):
        toy.run()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert toy.run() == [("read", "mug"), ("shout", "mug")]


def test_the_run_in_mlflow_tells_the_truth(toy: Toy, mlflow_store: str) -> None:
    toy.write(bad="unusable", mug="mug")
    toy.run(shout={"mark": "~"})
    client = mlflow.MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("mpod_pipeline")
    assert experiment
    run = client.search_runs([experiment.experiment_id], max_results=1)[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["shout.mark"] == "~"
    assert run.data.params["batch.seed"] == "0"
    assert (run.data.metrics["read/made"], run.data.metrics["read/failed"]) == (1, 1)
    assert "mug" in run.info.run_name or "in workspace, 20" in run.info.run_name
    assert run.data.params["photos"] == str(toy.photos) and run.data.params["workspace"] == str(toy.workspace)
    curve = client.get_metric_history(run.info.run_id, "loss/shout/mug/volume")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 0.25)]

    with pytest.raises(TooManyFailuresError):
        toy.run(batch={"max_failed_fraction": 0.1})
    assert client.search_runs([experiment.experiment_id], max_results=1)[0].info.status == "FAILED"


def test_mlflow_follows_the_first_products_only(toy: Toy, mlflow_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpod_pipeline.hooks.tracking.FOLLOWED", 2)
    toy.write(a="a", b="b", c="c", d="d")
    toy.run()
    client = mlflow.MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("mpod_pipeline")
    assert experiment
    metrics = client.search_runs([experiment.experiment_id], max_results=1)[0].data.metrics
    assert metrics["shout/made"] == 4
    assert [product for product in "abcd" if f"loss/shout/{product}/volume" in metrics] == ["a", "b"]


def test_resources_of_a_step_that_does_not_exist_are_refused(toy: Toy) -> None:
    toy.write(mug="mug")
    with pytest.raises(SetupError, match=r"batch\.resources names shuot"):
        toy.run(batch={"resources": {"shuot": {"num_gpus": 1}}})
    toy.run(batch={"resources": {"shout": {"num_gpus": 1}}})  # in this process nobody asks for them
    assert toy.run(batch={"executor": {"workers": 3}}) == []  # and none of it is part of a fingerprint


def test_an_mlflow_store_that_cannot_be_written_costs_a_warning(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'no such folder' / 'mlflow.db'}")
    toy.write(mug="mug")
    assert toy.run() == [("read", "mug"), ("shout", "mug")]
    assert "MLflow's store cannot be written" in caplog.text


def test_an_mlflow_store_that_breaks_during_the_run_costs_a_warning(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object, **named: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", broken)
    toy.write(mug="mug")
    assert toy.run() == [("read", "mug"), ("shout", "mug")]
    assert caplog.text.count("MLflow's store cannot be written") == 1


def test_the_summary_names_steps_and_failures(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write(bad="unusable", mug="mug")
    toy.run()
    printed = capsys.readouterr().out
    assert "failed: bad in read: The photo is unusable." in printed
    assert str(toy.workspace / "failures.csv") in printed


def test_every_run_leaves_its_summary_as_json_and_in_mlflow(toy: Toy, mlflow_store: str) -> None:
    toy.write(bad="unusable", mug="mug")
    toy.run()
    toy.write(odd="TypeError")
    with pytest.raises(TypeError):
        toy.run()
    first, second = (json.loads(path.read_text()) for path in sorted((toy.workspace / "runs").iterdir()))
    assert first["verdict"] == "finished"
    assert first["steps"]["shout"]["made"] == 1
    assert [failure["product"] for failure in first["failures"]] == ["bad"]
    assert (second["verdict"], second["stopped_by"]) == ("stopped", "TypeError: as asked")
    assert list(second["steps"]) == ["read"]  # `shout` did not finish
    client = mlflow.MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("mpod_pipeline")
    assert experiment
    runs = client.search_runs([experiment.experiment_id], max_results=2)
    assert [run.data.tags["verdict"] for run in runs] == ["stopped", "finished"]
    logged = mlflow.artifacts.load_dict(f"{runs[1].info.artifact_uri}/summary.json")
    assert logged["steps"] == first["steps"]


def test_where_the_end_cannot_be_written_the_error_that_stopped_the_run_is_told(
    toy: Toy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ProductTable, "save", full)
    toy.write(odd="TypeError")
    with pytest.raises(TypeError, match="as asked"):
        toy.run()
    assert "end could not be written down" in caplog.text


def test_an_environment_brings_its_own_log(
    toy: Toy, toy_configuration: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "conf" / "nightly", toy_configuration / "nightly", dirs_exist_ok=True)
    kept = dict(LOGGING)
    toy.write(bad="unusable", mug="mug")
    try:
        with pytest.raises(TooManyFailuresError):  # a tenth is allowed
            toy.run(env="nightly")
    finally:
        LOGGING.configure(kept)
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert "WARNING read: bad failed. The photo is unusable." in line
    assert "failed: bad in read" in captured.out


def test_without_a_folder_of_photos_the_run_stops(toy: Toy) -> None:
    toy.photos.rmdir()
    with pytest.raises(SetupError, match="does not exist"):
        toy.run()
