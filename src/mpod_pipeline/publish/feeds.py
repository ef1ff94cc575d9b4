"""What tells shops and search engines where the published files lie: Google's table, and schema.org's JSON-LD."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from mpod_pipeline.publish.table import Row

#: The formats' names on the web (IANA).
MEDIA_TYPES = {".glb": "model/gltf-binary", ".usdz": "model/vnd.usdz+zip"}
#: The targets that a product's own web page shows.
ON_THE_PAGE = ("web", "ar_ios")


def feeds(rows: Iterable[Row], base_url: str, texts: Mapping[str, Mapping[str, str]]) -> dict[str, bytes]:
    """The files that tell shops where the models are.

    Args:
        rows: Of what is published.
        base_url: Where the folder of it lies on the web.
        texts: What the catalog's table says of each product, such as its title.

    Returns:
        The files' contents by name.
    """
    published = [row for row in rows if row.published]
    files = {"google.tsv": google_table(published, base_url)}
    for product in dict.fromkeys(row.product for row in published):
        own = [row for row in published if row.product == product and row.target in ON_THE_PAGE]
        if own:
            described = json_ld(product, own, base_url, texts.get(product, {}).get("title", ""))
            files[f"json_ld/{product}.json"] = json.dumps(described, indent=1, ensure_ascii=False).encode()
    return files


def google_table(published: Iterable[Row], base_url: str) -> bytes:
    """A supplemental feed for Google Merchant Center: each product's id and its ``virtual_model_link``.

    Ids must be those of the primary feed.
    """
    stream = io.StringIO(newline="")
    table = csv.writer(stream, delimiter="\t", lineterminator="\n")
    table.writerow(["id", "virtual_model_link"])
    table.writerows([row.product, address(base_url, row.file)] for row in published if row.target == "google")
    return stream.getvalue().encode()


def json_ld(product: str, rows: Iterable[Row], base_url: str, title: str) -> dict[str, Any]:
    """What a product's web page says of its model, as schema.org's ``3DModel``.

    Args:
        product: Its id.
        rows: Its published files.
        base_url: Where they lie on the web.
        title: As people call the product.

    Returns:
        What goes into the page as JSON-LD.
    """
    encodings = [
        {
            "@type": "MediaObject",
            "contentUrl": address(base_url, row.file),
            "encodingFormat": next(kind for suffix, kind in MEDIA_TYPES.items() if row.file.endswith(suffix)),
        }
        for row in rows
    ]
    model = {"@type": "3DModel", "image": address(base_url, f"posters/{product}.webp"), "encoding": encodings}
    return {
        "@context": "https://schema.org",
        "@type": "Product",
        "sku": product,
        **({"name": title} if title else {}),
        "subjectOf": model,
    }


def address(base_url: str, place: str) -> str:
    return f"{base_url.rstrip('/')}/{quote(place)}"
