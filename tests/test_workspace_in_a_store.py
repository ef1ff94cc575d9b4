"""A workspace in a store: its copy, its lock, its decisions; and the real command on S3 as moto serves it."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import mlflow
import pytest
from kedro.framework.startup import bootstrap_project
from PIL import Image, ImageDraw

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.mirror import Mirror
from mpod_pipeline.base.stores import MANIFEST
from mpod_pipeline.batch import store_lock
from mpod_pipeline.batch.store_lock import LOCK, LostLockError, StoreLock, who_holds_in_store
from mpod_pipeline.cli import config_loader
from mpod_pipeline.commands.review import review_server
from mpod_pipeline.hooks import workspace
from mpod_pipeline.hooks.batch import TooManyFailuresError
from mpod_pipeline.hooks.workspace import DECISIONS, StoredWorkspace
from mpod_pipeline.publish.decisions import Decision, Verdict, add_decision, model_hash, read_decisions
from tests.batch.conftest import TOY, Toy, mlflow_store, run_toy, toy, toy_configuration
from tests.command import ROOT, environment
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

__all__ = ["mlflow_store", "toy", "toy_configuration"]

Store = tuple[Any, str, dict[str, Any]]


class Machine:
    """One with a copy of its own."""

    def __init__(self, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.system, address, options = store
        self.root = address.partition("://")[2]
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        self.workspace = StoredWorkspace(address, options)
        self.copy = self.workspace.copy
        assert folder in self.copy.parents

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.copy / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def files(self) -> dict[str, str]:
        return {
            path.relative_to(self.copy).as_posix(): path.read_text()
            for path in self.copy.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }

    def in_store(self) -> dict[str, str]:
        found = (name.rpartition(f"{self.root}/")[2] for name in self.system.find(self.root))
        return {
            name: self.system.cat_file(f"{self.root}/{name}").decode() for name in found if not name.startswith(".")
        }

    def run(self, **files: str) -> None:
        """As a run does that comes to its end."""
        self.workspace.open("a run")
        self.write(**files)
        self.workspace.send()
        self.workspace.close()


@pytest.fixture
def one(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(store, tmp_path / "one", monkeypatch)


@pytest.fixture
def other(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(store, tmp_path / "other", monkeypatch)


def test_another_machine_goes_on_with_what_was_sent(one: Machine, other: Machine) -> None:
    one.run(meshes__mug="glb", records__export__mug="record", sub__old="old")
    assert one.in_store() == one.files() == {"meshes/mug": "glb", "records/export/mug": "record", "sub/old": "old"}
    other.workspace.open("next")
    assert other.files() == one.files()
    times = [(machine.copy / "meshes/mug").stat().st_mtime_ns for machine in (one, other)]
    assert times[0] == times[1]  # or each step would read it again
    (other.copy / "sub/old").unlink()
    other.write(meshes__mug="another glb")
    other.workspace.send()
    other.workspace.close()
    one.run()
    assert one.in_store() == one.files() == {"meshes/mug": "another glb", "records/export/mug": "record"}


def test_only_what_has_changed_goes_and_comes(one: Machine, other: Machine) -> None:
    one.run(a="1", b="2")
    mirror = Mirror(one.workspace.address, other.copy, one.workspace._options, late=lambda name: False)
    assert mirror.bring() == 2 and mirror.bring() == 0 and mirror.send() == 0
    (other.copy / "a").touch()
    assert mirror.send() == 0
    other.write(a="3")
    assert mirror.send() == 1 and mirror.send() == 0
    (other.copy / "b").unlink()
    assert mirror.bring() == 1 and other.files() == {"a": "3", "b": "2"}


def test_products_may_have_any_name(one: Machine, other: Machine) -> None:
    names = ("mug [1] #2.json", "50% + ü*?.json", 'it\'s a \u202fcup, "large".json')
    one.run(**{f"meshes__{name}": name for name in names})
    other.run()
    assert other.files() == {f"meshes/{name}": name for name in names}
    other.workspace.open("a run")
    (other.copy / "meshes" / names[1]).unlink()
    other.workspace.send()
    other.workspace.close()
    one.run()
    assert set(one.files()) == set(one.in_store()) == {f"meshes/{names[0]}", f"meshes/{names[2]}"}


def test_what_a_dead_run_did_not_send_goes_with_the_next(one: Machine, other: Machine) -> None:
    one.run(meshes__mug="glb", meshes__cup="glb")
    one.write(meshes__mug="newer", meshes__pot="new")  # and the machine died
    one.run()
    assert one.in_store() == {"meshes/mug": "newer", "meshes/cup": "glb", "meshes/pot": "new"}
    one.write(meshes__mug="newest", meshes__jug="new")  # and died again; and another machine took over
    other.run(meshes__mug="of the other")
    assert "meshes/jug" not in other.files()  # it is lost to others until this machine sends it
    one.run()
    assert one.files() == one.in_store()
    assert one.files()["meshes/mug"] == "of the other" and one.files()["meshes/jug"] == "new"


def test_records_go_after_what_they_vouch_for_and_the_manifest_last(
    one: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.run(meshes__mug="glb", records__export__mug="record")
    one.workspace.open("second")
    one.write(meshes__mug="newer", meshes__zebra="new", records__export__mug="newer", records__a__zebra="new")
    sent: list[str] = []
    put = Mirror._put
    monkeypatch.setattr(Mirror, "_put", lambda self, name: (sent.append(name), put(self, name)))
    write = Mirror.write
    monkeypatch.setattr(Mirror, "write", lambda self, name, content: _broken())
    with pytest.raises(SetupError, match="the line is dead"):
        one.workspace.send()
    assert [name.split("/")[0] for name in sent] == ["meshes"] * 2 + ["records"] * 2
    one.workspace.close()
    monkeypatch.setattr(Mirror, "write", write)
    other.run()  # finds newer files than the manifest says, and mends it
    assert other.files()["meshes/mug"] == "newer" and other.in_store()["meshes/mug"] == "newer"
    again = Mirror(one.workspace.address, other.copy, one.workspace._options, late=lambda name: False)
    assert again.bring() == 0
    one.run()
    assert {"meshes/zebra": "new", "records/a/zebra": "new"}.items() <= one.in_store().items()


def _broken() -> None:
    raise OSError("the line is dead")


def test_a_folder_that_somebody_copied_there_is_a_workspace(one: Machine) -> None:
    one.system.pipe_file(f"{one.root}/meshes/mug", b"glb")
    one.run(new="new")
    assert one.files() == {"meshes/mug": "glb", "new": "new"}
    assert set(json.loads(one.system.cat_file(f"{one.root}/{MANIFEST}"))) == {"meshes/mug", "new"}


def test_a_manifest_that_is_of_something_else_or_leads_elsewhere(one: Machine, tmp_path: Path) -> None:
    one.system.pipe_file(f"{one.root}/{MANIFEST}", b'{"published/mug.glb": "its hash"}')
    with pytest.raises(SetupError, match="is no workspace's"):
        one.run()
    one.system.pipe_file(f"{one.root}/{MANIFEST}", b'{"../../evil": [1, 1, ""], "a/.b/evil": [1, 1, ""]}')
    assert not one.system.exists(f"{one.root}/{LOCK}")
    one.system.pipe_file(f"{one.root}/evil", b"evil")
    one.run(meshes__mug="glb")
    assert not list(tmp_path.rglob("evil")) and one.files() == {"meshes/mug": "glb"}


def test_one_run_at_a_time_on_all_machines(one: Machine, other: Machine) -> None:
    one.workspace.open("the first")
    with pytest.raises(SetupError, match=r"run the first, process \d+ on .*, since 20.*; wait .*10 minutes.*remove"):
        other.workspace.open("the second")
    with pytest.raises(SetupError, match="run the first"):  # in the same copy
        StoredWorkspace(one.workspace.address, one.workspace._options).open("the second")
    holder = other.workspace.look()
    assert holder and holder.run == "the first"
    one.workspace.close()
    assert other.workspace.look() is None
    other.run()


def test_a_lock_that_is_not_renewed_is_taken(
    store: Store, one: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, address, options = store
    dead = StoreLock(address, options, "one copy")
    monkeypatch.setattr(store_lock, "RENEWED_EVERY_S", 1000.0)
    dead.acquire("the first")
    monkeypatch.setattr(store_lock, "DEAD_AFTER_S", -1.0)
    alive = StoreLock(address, options, "another copy")
    alive.acquire("the second")
    assert "run the first" in caplog.text
    with pytest.raises(LostLockError, match="no lock on"):
        dead.require()
    dead.release()
    holder = who_holds_in_store(address, options)
    assert holder and holder.run == "the second"
    alive.require()
    alive.release()
    assert who_holds_in_store(address, options) is None


def test_a_lock_is_renewed_and_ones_own_dead_run_is_known(
    store: Store, one: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, address, options = store
    monkeypatch.setattr(store_lock, "RENEWED_EVERY_S", 0.05)
    lock = StoreLock(address, options, "one copy")
    lock.acquire("the first")
    file = f"{one.root}/{LOCK}"
    before = system.modified(file)
    deadline = time.monotonic() + 10
    while system.modified(file) == before:
        assert time.monotonic() < deadline
    lock._over.set()  # it dies
    same = StoreLock(address, options, "one copy")
    same.acquire("the second")
    system.rm_file(file)  # by a person
    with pytest.raises(LostLockError, match="somebody removed it"):
        same.require()
    same.release()


def test_a_run_that_lost_its_lock_sends_nothing(one: Machine, other: Machine) -> None:
    one.workspace.open("the first")
    one.system.rm_file(f"{one.root}/{LOCK}")
    other.run(meshes__mug="of the other")
    one.write(meshes__mug="glb")
    for send in (one.workspace.send, lambda: one.workspace.send_while_at_work(now=True)):
        with pytest.raises(LostLockError):
            send()
    one.workspace.close()
    assert one.in_store() == {"meshes/mug": "of the other"}


def test_a_store_that_does_not_answer_in_between_stops_no_run(
    one: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one.workspace.open("a run")
    one.write(meshes__mug="glb")
    with monkeypatch.context() as broken:
        broken.setattr(Mirror, "_put", lambda self, name: _broken())
        one.workspace.send_while_at_work(now=True)
    assert "the line is dead" in caplog.text and one.in_store() == {}
    one.workspace.send_while_at_work(now=False)  # not so soon again
    assert one.in_store() == {}
    one.workspace.send()
    one.workspace.close()
    assert one.in_store() == {"meshes/mug": "glb"}


def decision(product: str, when: str, decided: Verdict = "approved") -> Decision:
    return Decision(product, "hash", decided, "=why", "Zoë", f"2026-01-01T00:00:0{when}+00:00")


def test_decisions_of_all_machines_come_together(one: Machine, other: Machine) -> None:
    one.run()
    other.workspace.open("a run")  # which is at work all the time
    for machine, decided in ((one, decision("mug", "1")), (other, decision("cup", "2")), (one, decision("mug", "3"))):
        with machine.workspace.deciding():
            add_decision(machine.copy / DECISIONS, decided)
    add_decision(one.copy / DECISIONS, decision("pot", "0"))  # not sent: the review died
    other.workspace.send()
    other.workspace.close()
    one.workspace.look()
    assert "pot" not in one.in_store()[DECISIONS]  # who looks sends nothing
    one.workspace.share_decisions()
    other.workspace.share_decisions()
    for machine in (one, other):
        found = read_decisions(machine.copy / DECISIONS)
        assert [each.when[-7] for each in found.history("mug")] == ["1", "3"]
        assert {each.product for each in found} == {"mug", "cup", "pot"}
        assert next(iter(found)).reason == "=why"
    assert one.in_store()[DECISIONS] == (one.copy / DECISIONS).read_text()


def test_a_decision_that_cannot_be_sent_is_told_and_kept(one: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    one.run()
    with monkeypatch.context() as broken, pytest.raises(SetupError, match=r"written down here.*the line is dead"):
        broken.setattr("mpod_pipeline.base.mirror.open_store", lambda *_: _broken())
        with one.workspace.deciding():
            add_decision(one.copy / DECISIONS, decision("mug", "1"))
    one.workspace.share_decisions()
    assert "mug" in one.in_store()[DECISIONS]


def test_a_review_of_a_workspace_in_a_store(
    store: Store, one: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.run(**{"08_reporting__site__index.html": "page", "07_model_output__meshes__mug.glb": "glb", "08__big": "big"})
    monkeypatch.setattr("mpod_pipeline.hooks.workspace.options", lambda loader: store[2])
    monkeypatch.setenv("XDG_CACHE_HOME", str(next(p for p in other.copy.parents if p.name == "other")))
    bootstrap_project(ROOT)
    said = {"product": "mug", "model": model_hash(b"glb"), "decision": "approved", "reason": ""}
    with review_server(config_loader(ROOT, None, {"workspace": store[1]}), "ana", 0) as server:
        assert set(other.files()) == {"08_reporting/site/index.html", "07_model_output/meshes/mug.glb"}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = urllib.request.Request(
            f"{server.address}api/decisions", json.dumps(said).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert answer.status == 200
        assert "mug" in one.in_store()[DECISIONS] and "08/big" in one.in_store()
        monkeypatch.setattr("mpod_pipeline.base.mirror.open_store", lambda *_: _broken())
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=10)
        assert "written down here" in json.loads(refused.value.read())["error"]
        assert len(list(read_decisions(other.copy / DECISIONS))) == 2
        server.shutdown()


def test_a_store_that_cannot_be_written_is_told_before_any_work(one: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(one.system), "pipe_file", lambda *_, **__: _broken())
    with pytest.raises(SetupError, match=f"{one.workspace.address} cannot be used: the line is dead"):
        one.workspace.open("a run")


# A whole run ---------------------------------------------------------------------------------------------------------


class StoredToy:
    """Runs of the toy, with the real hooks, whose photos and workspace are in a store."""

    def __init__(self, toy: Toy, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.system, self.photos, options = store
        self.workspace = f"{self.photos.rpartition('/')[0]}/work"
        self._toy, self._folder, self._monkeypatch = toy, folder, monkeypatch
        for module in ("stores", "workspace"):
            monkeypatch.setattr(f"mpod_pipeline.hooks.{module}.options", lambda loader: options)

    def write(self, **photos: str) -> None:
        for product, text in photos.items():
            self.system.pipe_file(f"{self.photos}/{product}.jpg", text.encode())

    def run(self, machine: str, nodes: list[str] | None = None, **params: Any) -> list[tuple[str, str]]:
        """The work that was done; also of a run that was stopped, by `done`."""
        self._monkeypatch.setenv("XDG_CACHE_HOME", str(self._folder / machine))
        self._toy._module.done.clear()
        places = {"photos": self.photos, "workspace": self.workspace}
        run_toy(**{**self._toy.arguments, **places}, nodes=nodes, **params)
        return self.done

    @property
    def done(self) -> list[tuple[str, str]]:
        return self._toy.done

    def has(self, name: str) -> bool:
        return bool(self.system.exists(f"{self.workspace}/{name}"))


@pytest.fixture
def stored(toy: Toy, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredToy:
    return StoredToy(toy, store, tmp_path, monkeypatch)


def test_a_run_is_gone_on_with_on_another_machine(stored: StoredToy) -> None:
    stored.write(mug="mug", shoe="shoe")
    assert stored.run("one", nodes=["read"]) == [("read", "mug"), ("read", "shoe")]
    assert not stored.has(LOCK) and stored.has("records/read/mug.json") and stored.has("failures.csv")
    (run,) = mlflow.search_runs(
        experiment_names=["mpod_pipeline"],
        filter_string=f"params.workspace = '{stored.workspace}'",
        output_format="list",
    )
    assert run.data.params["photos"] == stored.photos
    stored.write(cup="cup")
    assert stored.run("another") == [("read", "cup"), ("shout", "cup"), ("shout", "mug"), ("shout", "shoe")]
    assert stored.run("one") == [] == stored.run("a third")
    assert stored.run("one", nodes=["shout"], shout={"mark": "?"}) == [
        ("shout", "cup"),
        ("shout", "mug"),
        ("shout", "shoe"),
    ]
    assert json.loads(stored.system.cat_file(f"{stored.workspace}/shouts/mug.json"))[0] == "MUG?"


def test_a_run_that_is_stopped_sends_what_it_has_made_and_gives_the_lock_back(stored: StoredToy) -> None:
    stored.write(a="mug", b="NoSpace", c="cup")
    with pytest.raises(OSError, match="No space"):
        stored.run("one")
    assert not stored.has(LOCK) and stored.has("shouts/a.json") and not stored.has("shouts/c.json")
    stored.write(b="bowl")
    assert stored.run("another") == [("read", "bowl"), ("shout", "bowl"), ("shout", "cup")]


def test_a_run_in_which_too_many_fail_is_sent_all_the_same(stored: StoredToy) -> None:
    stored.write(a="unusable", b="mug")
    with pytest.raises(TooManyFailuresError):
        stored.run("one", batch={"max_failed_fraction": 0.1})
    assert not stored.has(LOCK) and stored.has("shouts/b.json") and stored.has("records/read/a.json")


def test_a_run_that_cannot_start_gives_the_lock_back(stored: StoredToy) -> None:
    stored.write(a="mug")
    with pytest.raises(SetupError, match="no product 'pot'"):
        stored.run("one", products=["pot"])
    assert not stored.has(LOCK)
    assert stored.run("another") == [("read", "mug"), ("shout", "mug")]


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Processes that have everything imported already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "src", ROOT, TOY))))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, "toy.pipeline_registry", "mpod_pipeline.hooks.preflight", "torch"])
        yield context


def run_until(file: int | None, sent_every_s: float, variables: dict[str, str], arguments: dict[str, Any]) -> None:
    """Run the toy with these variables of the environment; die when so many files went to the store."""
    os.environ |= variables
    workspace.SENT_EVERY_S = sent_every_s
    count, put = itertools.count(1), Mirror._put

    def put_or_die(self: Mirror, name: str) -> None:
        put(self, name)
        if next(count) == file:
            os.kill(os.getpid(), signal.SIGKILL)

    Mirror._put = put_or_die  # type: ignore[method-assign]
    run_toy(**arguments)


@pytest.fixture
def killed(
    toy: Toy, s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: ForkServerContext
) -> Iterator[Callable[..., StoredToy]]:
    """A run on a machine that dies, as `run_until` says; its lock is taken away, as the refusal tells."""

    def run(file: int | None, sent_every_s: float, **photos: str) -> StoredToy:
        stored = StoredToy(toy, s3, tmp_path, monkeypatch)
        stored.write(**photos)
        options = s3[2]
        variables = {
            "AWS_ACCESS_KEY_ID": options["key"],
            "AWS_SECRET_ACCESS_KEY": options["secret"],
            "AWS_ENDPOINT_URL": options["endpoint_url"],
            "XDG_CACHE_HOME": str(tmp_path / "one"),
            "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"],
        }
        arguments = {**toy.arguments, "photos": stored.photos, "workspace": stored.workspace}
        process = processes.Process(target=run_until, args=(file, sent_every_s, variables, arguments))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL and stored.has(LOCK)
        with pytest.raises(SetupError, match=rf"process {process.pid} on"):
            stored.run("another")
        stored.system.rm_file(f"{stored.workspace}/{LOCK}")
        return stored

    yield run


@pytest.mark.parametrize(("every_s", "sent"), [(0.0, True), (1000.0, False)])
def test_a_crash_loses_at_most_what_was_not_sent(killed: Callable[..., StoredToy], every_s: float, sent: bool) -> None:
    stored = killed(None, every_s, a="mug", b="cup", c="SIGKILL")
    assert stored.has("records/read/c.json")  # this step had come to its end
    assert stored.has("records/shout/a.json") == stored.has("shouts/b.json") == sent
    stored.write(c="pot")
    lost = [] if sent else [("shout", "mug"), ("shout", "cup")]
    assert stored.run("another") == [("read", "pot"), *lost, ("shout", "pot")]
    stored.write(c="jug")
    assert stored.run("one") == [("read", "jug"), ("shout", "jug")]  # without a wait, or a word on the lock


@pytest.mark.parametrize("file", [1, 2, 5, 9, 14])
def test_a_send_that_is_broken_off_does_no_harm(killed: Callable[..., StoredToy], file: int) -> None:
    stored = killed(file, 0.0, a="mug", b="cup")
    stored.run("another")
    assert stored.run("another") == []
    for product, text in {"a": "MUG!", "b": "CUP!"}.items():
        assert json.loads(stored.system.cat_file(f"{stored.workspace}/shouts/{product}.json"))[0] == text
    assert stored.run("one") == []
    assert stored.run("a third") == []


# The real command ----------------------------------------------------------------------------------------------------


class Catalog:
    """Photos and workspace in S3, and machines that work on it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.system, self.address, self._options = store
        self.bucket = self.address.rpartition("/")[0]
        self.folder = folder

    def command(self, what: str, *options: str, params: str = "") -> list[str]:
        places = f"photos={self.address},workspace={self.bucket}/work"
        return [sys.executable, "-m", "kedro", what, f"--params={places}{params and ','}{params}", *options]

    def environment(self, machine: str) -> dict[str, str]:
        return environment(self.folder) | {
            "XDG_CACHE_HOME": str(self.folder / machine),
            "AWS_ACCESS_KEY_ID": self._options["key"],
            "AWS_SECRET_ACCESS_KEY": self._options["secret"],
            "AWS_ENDPOINT_URL": self._options["endpoint_url"],
            "NUMBA_CACHE_DIR": str(Path("~/.cache/mpod_pipeline/tests").expanduser()),
        }

    def kedro(self, machine: str, what: str, *options: str, params: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(what, *options, params=params),
            cwd=ROOT,
            env=self.environment(machine),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def read(self, name: str) -> bytes:
        content: bytes = self.system.cat_file(f"{self.bucket}/work/{name}")
        return content

    def record(self, step: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read(f"08_reporting/records/{step}/mug.json"))
        return found


@pytest.fixture
def catalog(s3: Store, tmp_path: Path) -> Iterator[Catalog]:
    photo = Image.new("RGB", (320, 320), (225, 225, 225))
    draw = ImageDraw.Draw(photo)
    draw.ellipse((190, 130, 260, 210), outline=(150, 25, 25), width=14)
    draw.rectangle((100, 90, 215, 240), fill=(190, 35, 35))
    draw.ellipse((100, 75, 215, 105), fill=(120, 20, 20))
    photo.save(tmp_path / "mug.jpg")
    system, address, _ = s3
    system.put_file(str(tmp_path / "mug.jpg"), f"{address}/mug.jpg")
    yield Catalog(s3, tmp_path)


@pytest.mark.slow
def test_a_run_from_store_to_store_is_gone_on_with_elsewhere(catalog: Catalog) -> None:
    """The whole method with tiny priors, and a shop; then on another machine, where nothing is made again."""
    priors = catalog.folder / "priors"
    save_tiny_text_to_image(priors / "text_to_image")
    save_tiny_novel_view(priors / "novel_view")
    settings = (
        f"priors={priors},textual_inversion.steps=2,outline.steps=30,detail.steps=3,outline.resolutions=[24],"
        "masks.azimuths=3,masks.resolution=32,detail.grid_resolution=20,detail.resolution=48,"
        "export.texture_size=128,export.triangles=2000,evaluation.resolution=64,evaluation.sheet_resolution=64,"
        "pages.poster_size=128,publish.targets=[google]"
    )
    both = "--pipelines=catalog_to_3d,publish"
    first = catalog.kedro("one", "run", both, params=settings)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    glb = catalog.read("07_model_output/meshes/mug.glb")
    assert glb[:4] == b"glTF" and b"mug" in catalog.read("08_reporting/scores.csv")
    assert catalog.read("08_reporting/site/index.html") and catalog.record("make_pages")["state"] == "made"
    assert not catalog.system.exists(f"{catalog.bucket}/work/{LOCK}")

    status = catalog.kedro("another", "status", "--format=json", params=settings)
    assert status.returncode == 0, status.stderr[-3000:]
    told = json.loads(status.stdout)
    assert told["workspace"] == f"{catalog.bucket}/work" and told["counts"]["complete"] == 1

    again = catalog.kedro("another", "run", both, params=settings)
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    summaries = sorted((catalog.folder / "another").rglob("08_reporting/runs/*.json"))
    assert len(summaries) == 2  # the first run's came along
    counts = json.loads(summaries[-1].read_text())["steps"]
    assert counts["segment"]["skipped"] == counts["make_pages"]["skipped"] == 1
    assert {step: numbers["made"] for step, numbers in counts.items() if numbers["made"]} == {}
    assert catalog.read("07_model_output/meshes/mug.glb") == glb


@pytest.mark.slow
def test_a_run_that_is_killed_is_gone_on_with_elsewhere(catalog: Catalog) -> None:
    endless = "textual_inversion.steps=1000000,textual_inversion.looks=2000"
    command = catalog.command("run", "--nodes=segment,learn_tokens", params=endless)
    run = subprocess.Popen(
        command, cwd=ROOT, env=catalog.environment("one"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        while not catalog.system.exists(f"{catalog.bucket}/work/08_reporting/records/segment/mug.json"):
            assert run.poll() is None, run.stderr and run.stderr.read()
            time.sleep(0.2)
        refused = catalog.kedro("another", "run", "--nodes=segment")
        assert refused.returncode == 1
        assert f"Another run is at work in {catalog.bucket}/work (run 20" in refused.stderr
        assert f"process {run.pid} on " in refused.stderr
    finally:
        run.kill()
        run.wait()
    before = catalog.record("segment")
    catalog.system.rm_file(f"{catalog.bucket}/work/{LOCK}")  # as it says: the machine is known to be dead
    segment = catalog.kedro("another", "run", "--nodes=segment")
    assert segment.returncode == 0, segment.stderr[-3000:]
    assert "1 skipped" in segment.stderr and catalog.record("segment") == before
    own = catalog.kedro("one", "run", "--nodes=segment")
    assert own.returncode == 0 and "1 skipped" in own.stderr


def test_what_lacks_is_told_before_any_work(catalog: Catalog) -> None:
    catalog.system.rm_file(f"{catalog.address}/mug.jpg")
    run = catalog.kedro("one", "run", "--nodes=segment", params="workspace=s3://no-such-bucket/work")
    assert run.returncode == 1 and "s3://no-such-bucket/work cannot be used" in run.stderr
    assert "Traceback" not in run.stderr
