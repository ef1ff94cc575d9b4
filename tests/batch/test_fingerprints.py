from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mpod_pipeline.batch.fingerprints import FileIdentity, fingerprint, identify, identify_files, seed_of


def test_identity_is_the_contents_digest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    identity = identify(path)
    assert identity and identity.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert identify(tmp_path / "absent") is None


def test_known_files_are_not_read_again_unless_size_or_time_differ(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    status = path.stat()
    known = FileIdentity(sha256="trusted", size=3, mtime_ns=status.st_mtime_ns)
    assert identify(path, known) is known
    os.utime(path, ns=(0, status.st_mtime_ns + 1))
    identity = identify(path, known)
    assert identity and identity.sha256 == hashlib.sha256(b"abc").hexdigest()


def test_folders_are_identified_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/weights").write_bytes(b"w")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/x").write_bytes(b"x")
    files = identify_files(tmp_path, {})
    assert list(files) == ["unet/weights"]
    assert identify_files(tmp_path, files)["unet/weights"] is files["unet/weights"]


def test_a_single_file_is_identified_by_content_whatever_its_name(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(b"w")
    one, other = (identify_files(tmp_path / name, {}) for name in ("one", "other"))
    assert {k: v.sha256 for k, v in one.items()} == {k: v.sha256 for k, v in other.items()} != {}
    assert identify_files(tmp_path / "absent", {}) == {}


def test_fingerprints_do_not_depend_on_order_and_do_on_every_part() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert len({fingerprint({"a": 1}), fingerprint({"a": 2}), fingerprint({"b": 1}), fingerprint({})}) == 4


def test_seeds_depend_on_all_three() -> None:
    seeds = {seed_of(*key) for key in [(0, "s", "a"), (1, "s", "a"), (0, "t", "a"), (0, "s", "b")]}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)
