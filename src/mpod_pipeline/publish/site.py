"""The page on which people look at models: files that need no server.

What all products have is one script, ``catalog.js``; what one has is ``products/ID.js``, loaded when it is looked at.
(Scripts, as a page that lies on a disk may load no data.) All texts are shown as texts, whatever is in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from mpod_pipeline.publish.decisions import Decisions

#: What is copied as it is.
STATIC = ("index.html", "page.css", "page.js", "model-viewer-umd.min.js", "NOTICE.txt")


@dataclass(frozen=True)
class Entry:
    """One product in the overview.

    model: the hash of its GLB; empty where it has none. failed: the step and the reason. history: of each step, its
    name, state, seconds, attempt, when it finished, and the run. published: by target, why not; empty where it is.
    """

    id: str
    title: str
    category: str
    model: str = ""
    flags: str = ""
    failed: str = ""
    doubt: float | None = None
    scores: Mapping[str, float] | None = None
    published: Mapping[str, str] | None = None
    history: Sequence[Sequence[Any]] = ()


def site_files(entries: Iterable[Entry], decisions: Decisions) -> dict[str, bytes | Path]:
    """The files by their places within the page's folder, without those of single products."""
    catalog = [
        {**asdict(entry), "decisions": [asdict(each) for each in decisions.history(entry.id)]} for entry in entries
    ]
    own = files(__package__) / "page"
    static = {name: (own / name).read_bytes() for name in STATIC}
    text = json.dumps(catalog, separators=(",", ":"))  # in ASCII, so that no encoding can be wrong
    return {**static, "catalog.js": f"const CATALOG = {text};\n".encode()}
