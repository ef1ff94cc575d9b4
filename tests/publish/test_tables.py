"""Decisions, the table of what is published, feeds, and the doubt by which the page is sorted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.publish.decisions import Decision, Decisions, add_decision, model_hash, read_decisions
from mpod_pipeline.publish.doubt import SIGNS, doubt
from mpod_pipeline.publish.feeds import feeds
from mpod_pipeline.publish.table import Row, rows_of

GOOD = {
    "cutout_confidence": 1.0,
    "photo_iou": 1.0,
    "photo_psnr": 40.0,
    "pieces": 1,
    "watertight": True,
    "word_similarity_efficientnet_lite0": 0.75,
    "mvc_efficientnet_lite0": 0.9,
    "flags": "",
}
REPORT = {
    "model": "aa",
    "wrong": [],
    "checked_by": ["own checks"],
    "bytes": 500_000,
    "triangles": 20_000,
    "suffix": ".glb",
}


def test_decisions_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    assert list(read_decisions(path)) == []
    nasty = Decision(
        "mug, large", "aa", "rejected", '=HYPERLINK("x"), "quoted"\nand more', "Zoë", "2026-01-01T00:00:00"
    )
    others = [Decision("mug", "bb", "approved", who="ana"), Decision("mug", "bb", "rejected", "colour")]
    for decision in (nasty, *others):
        add_decision(path, decision)
    decisions = read_decisions(path)
    assert list(decisions) == [nasty, *others]
    assert decisions.of("mug", "bb") == others[1] and decisions.of("mug", "cc") is None
    assert "\n'=HYPERLINK" not in path.read_text() and "'=HYPERLINK" in path.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,photo\n", "has no column product"),
        ("product,model,decision,reason,who,when\nmug,aa,perhaps,,,\n", "says 'perhaps' of mug"),
    ],
)
def test_what_is_no_table_of_decisions_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "decisions.csv").write_text(text)
    with pytest.raises(SetupError, match=said):
        read_decisions(tmp_path / "decisions.csv")


def row(decisions: list[Decision], approved_only: bool = False, flags: str = "", **changed: Any) -> Row:
    (found,) = rows_of("mug", {"google": {**REPORT, **changed}}, {}, Decisions(decisions), approved_only, flags)
    return found


def test_what_passes_is_published_unless_somebody_rejected_it() -> None:
    assert (row([]).published, row([]).file) == (True, "google/mug.glb")
    rejected = row([Decision("mug", "aa", "rejected", "its handle is missing", "ana")])
    assert (rejected.passed, rejected.published, rejected.file) == (True, False, "")
    assert rejected.reason == "Rejected by ana: its handle is missing."
    assert row([Decision("mug", "of before", "rejected", "handle")]).published


def test_with_approved_only_a_model_waits_for_somebody() -> None:
    approved = [Decision("mug", "aa", "approved")]
    assert row([], approved_only=True).reason == "Nobody has approved this model yet."
    assert row(approved, approved_only=True).published
    assert not row([Decision("mug", "of before", "approved")], approved_only=True).published


def test_what_does_not_pass_is_not_published_whatever_was_decided() -> None:
    held = row([Decision("mug", "aa", "approved")], wrong=["Too large.", "Too dark."])
    assert (held.passed, held.published, held.reason) == (False, False, "Too large. Too dark.")
    (failed,) = rows_of("mug", {}, {"web": "The model has no surface."}, Decisions(), False)
    assert (failed.target, failed.published, failed.reason) == ("web", False, "The model has no surface.")


def test_what_may_be_of_glass_does_not_pass_until_somebody_has_looked_at_it() -> None:
    flags = "check the cutout; transparent: check"
    held = row([], flags=flags)
    assert (held.passed, held.published, held.file) == (False, False, "")
    assert held.reason.startswith("In its photo the product looks like glass or gauze")
    looked_at = row([Decision("mug", "aa", "approved")], flags=flags)
    assert (looked_at.passed, looked_at.published, looked_at.reason) == (True, True, "")
    assert not row([Decision("mug", "of before", "approved")], flags=flags).passed
    assert row([Decision("mug", "aa", "rejected", "glass")], flags=flags).reason == "Rejected: glass."
    assert row([], flags="check the cutout").passed


def test_feeds_name_what_is_published_and_nothing_else() -> None:
    names = {"google": "mug 1.glb", "web": "mug 1.glb", "ar_ios": "mug 1.usdz"}
    rows = [Row("mug 1", target, True, True, "", file=f"{target}/{name}") for target, name in names.items()]
    rows.append(Row("shoe", "google", True, False, "Rejected."))
    files = feeds(rows, "https://shop.example/3d/", {"mug 1": {"title": 'A "large" mug'}})
    assert files["google.tsv"].decode() == (
        "id\tvirtual_model_link\nmug 1\thttps://shop.example/3d/google/mug%201.glb\n"
    )
    described = json.loads(files["json_ld/mug 1.json"])
    assert (described["sku"], described["name"]) == ("mug 1", 'A "large" mug')
    assert [each["contentUrl"] for each in described["subjectOf"]["encoding"]] == [
        "https://shop.example/3d/web/mug%201.glb",
        "https://shop.example/3d/ar_ios/mug%201.usdz",
    ]
    assert set(files) == {"google.tsv", "json_ld/mug 1.json"}


def test_a_good_model_is_not_doubted_and_every_sign_and_flag_makes_it_so() -> None:
    assert doubt(GOOD) == 0
    assert doubt({}) == 0
    names = {sign.score: next(name for name in GOOD if name.startswith(sign.score)) for sign in SIGNS}
    for sign in SIGNS:
        assert doubt({**GOOD, names[sign.score]: sign.bad}) == pytest.approx(sign.weight)
    one, two = (doubt({**GOOD, "flags": flags}) for flags in ("check the cutout", "check the cutout; photo_iou below"))
    assert 0 < one < two < 1


def test_another_model_has_another_hash() -> None:
    assert model_hash(b"one") != model_hash(b"two")
