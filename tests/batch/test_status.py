from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpod_pipeline.batch.lock import Holder, WorkspaceLock, who_holds
from mpod_pipeline.batch.records import Record
from mpod_pipeline.batch.status import CatalogStatus, StepView, product_statuses
from mpod_pipeline.batch.under_way import UnderWay
from mpod_pipeline.datasets import PhotoFolder, ProductPartitions

STEPS = ("segment", "refine_detail")


class Books:
    """A catalog and what is written down about it."""

    def __init__(self, folder: Path) -> None:
        self.photos = folder / "photos"
        self.photos.mkdir()
        self._records = {step: ProductPartitions(path=str(folder / step), format="json") for step in STEPS}

    def write(self, product: str, step: str, state: str, **known: object) -> None:
        record = Record(product=product, step=step, state=state, fingerprint="", **known)
        self._records[step].save({product: record.to_json()})

    def status(
        self,
        *photos: str,
        stale: dict[str, set[str]] | None = None,
        at_work: dict[str, set[str]] | None = None,
        **known: object,
    ) -> CatalogStatus:
        for photo in photos:
            (self.photos / f"{photo}.jpg").touch()
        views = {
            step: StepView(records.load(), (stale or {}).get(step, set()), (at_work or {}).get(step, set()))
            for step, records in self._records.items()
        }
        checks = {"mug": lambda: {"cutout_confidence": 0.412, "flags": "check the cutout"}}
        products = list(product_statuses(PhotoFolder(path=str(self.photos)).load(), views, checks))
        return CatalogStatus("/photos", "/workspace", products, **known)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def test_each_product_has_its_state_time_and_error(books: Books) -> None:
    books.write("mug", "segment", "made", seconds=0.42)
    books.write("mug", "refine_detail", "made", seconds=43)
    why = {"message": "The photo is blank.", "finished": "2026-11-23T02:00:00+00:00", "attempt": 3}
    books.write("shoe", "segment", "failed", seconds=0.1, **why)
    books.write("shoe", "refine_detail", "left out")
    books.write("gone", "segment", "made")
    head, place, _, header, lamp, mug, shoe, total = books.status("mug", "shoe", "lamp").lines()
    assert (head, place) == ("photos:    /photos", "workspace: /workspace")
    assert header.split() == ["product", "segment", "refine", "detail", "cutout", "error"]
    assert mug.startswith("mug") and "made 0.4 s" in mug and "made 43.0 s" in mug
    assert mug.endswith("0.41 check the cutout")
    assert shoe.startswith("shoe") and "failed 0.1 s" in shoe and "left out" in shoe
    assert shoe.endswith("segment: The photo is blank. (2026-11-23T02:00:00+00:00, attempt 3)")
    assert lamp.split() == ["lamp", "-", "-", "-"]
    assert total == "3 products: 1 complete, 1 failed, 1 unfinished"


def test_what_a_run_would_make_again_is_stale(books: Books) -> None:
    for step in STEPS:
        books.write("mug", step, "made")
    books.write("shoe", "segment", "failed")
    status = books.status("mug", "shoe", stale={"refine_detail": {"mug"}, "segment": {"shoe"}})
    _, _, _, _, mug, _, total = status.lines()
    assert mug.split()[:5] == ["mug", "made", "0.0", "s", "stale"]
    assert total == "2 products: 0 complete, 1 failed, 0 unfinished, 1 stale"


def test_who_is_at_work_and_on_what_is_told(books: Books) -> None:
    books.write("mug", "segment", "made")
    run = Holder(run="2026", process=7, machine="here")
    status = books.status("mug", at_work={"refine_detail": {"mug"}}, run=run, gone=2)
    _, _, work, _, _, mug, total = status.lines()
    assert work == "at work:   run 2026, process 7 on here"
    assert mug.split()[:6] == ["mug", "made", "0.0", "s", "at", "work"]
    assert total == "1 product: 0 complete, 0 failed, 0 unfinished, 1 at work, 2 gone"


def test_only_failures_are_shown_on_request_and_all_are_counted(books: Books) -> None:
    books.write("mug", "segment", "made")
    books.write("shoe", "segment", "failed", message="No.")
    status = books.status("mug", "shoe")
    lines = list(status.lines(only_failed=True))[3:]
    assert [line.split()[0] for line in lines] == ["product", "shoe", "2"]
    assert [product["product"] for product in status.to_json(only_failed=True)["products"]] == ["shoe"]
    assert len(status.to_json()["products"]) == 2


def test_programs_get_it_as_json(books: Books) -> None:
    books.write("mug", "segment", "made", seconds=0.42, finished="2026", attempt=2)
    told = json.loads(json.dumps(books.status("mug", remarks=["Odd."]).to_json()))
    at = {"message": "", "finished": "2026", "attempt": 2, "seconds": 0.42, "state": "made"}
    (product,) = told.pop("products")
    assert told == {
        "photos": "/photos",
        "workspace": "/workspace",
        "run": None,
        "counts": {"complete": 0, "failed": 0, "unfinished": 1},
        "remarks": ["Odd."],
    }
    assert (product["id"], product["product"], product["state"]) == ("mug", "mug", "unfinished")
    assert product["steps"]["segment"] == at
    assert product["steps"]["refine_detail"]["state"] == "-"


def test_an_unusable_id_is_shown_as_the_catalog_writes_it(books: Books) -> None:
    (books.photos / "a .jpg").touch()
    (product,) = books.status().products
    assert product.product == "a " and product.id.startswith("unusable-a-")


def test_an_empty_catalog_is_a_table_without_rows() -> None:
    assert list(CatalogStatus("/photos", "/workspace", []).lines())[-1].startswith("0 products")


def test_who_has_the_lock_can_be_seen_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert who_holds(path) is None
    lock = WorkspaceLock(path)
    lock.acquire("the first")
    holder = who_holds(path)
    assert holder and holder.run == "the first"
    lock.release()
    assert who_holds(path) is None  # its text still names the last one
    lock.acquire("the second")
    lock.release()


def test_what_a_run_has_at_work_is_written_down_for_who_looks_on(tmp_path: Path) -> None:
    run, later = (UnderWay(tmp_path, "segment", run_id) for run_id in ("first", "second"))
    assert run.read() == set()
    run.show(["mug", "shoe"])
    assert run.read() == {"mug", "shoe"}
    assert later.read() == set()  # the first one died
    run.show([])
    assert not list(tmp_path.iterdir())
    (tmp_path / ".under_way.segment.json").mkdir()
    run.show(["mug"])  # in nobody's way
    assert run.read() == set()


def test_the_photos_of_a_product_are_named(books: Books) -> None:
    status = books.status("mug", "mug.back", "lamp")
    assert [product.photos for product in status.products] == [["front"], ["front", "back"]]
    lines = list(status.lines())
    assert any(line.startswith("mug (front, back)") for line in lines)
    assert any(line.startswith("lamp (front)") for line in lines)
