"""What may be a product's id: it becomes a file name, so it must stay one."""

from __future__ import annotations

import hashlib
import re
import unicodedata

#: Bytes of UTF-8. File systems take 255 for a name; suffixes and the mark of an unfinished file need their share.
MAX_BYTES = 120


def what_is_wrong_with(product: str) -> str | None:
    """A sentence on why this id cannot be used, or None if it can."""
    if not product.strip():
        return "The product has no id."
    if product != product.strip():
        return "The id begins or ends with a space; please remove it."
    if "/" in product or "\\" in product:
        return "The id contains a slash, which cannot be part of a file name; please choose another id."
    if ".." in product or product.startswith("."):
        return "The id begins with a dot or contains two dots in a row; please choose another id."
    if not product.isprintable():
        if any("\udc80" <= letter <= "\udcff" for letter in product):  # how Python keeps such bytes
            return "The name is not in UTF-8, as those of old archives; please rename the file."
        return "The id contains characters that cannot be printed; please choose another id."
    if (size := len(product.encode())) > MAX_BYTES:
        return f"The id takes {size} bytes in UTF-8, and {MAX_BYTES} at most fit; please choose a shorter one."
    if product == "mean":
        return "The id 'mean' is kept for the means of the scores; please choose another id."
    return None


def as_file_systems_see(product: str) -> str:
    """The id without what macOS or Windows leave out when they compare names: two ids of one such form share files."""
    return unicodedata.normalize("NFC", product.lower())


def stand_in_for(product: str) -> str:
    """A usable id under which the failure of an unusable one is recorded; different ids stay different."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", product).strip("_")[:40]
    digest = hashlib.sha256(product.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"unusable-{readable or 'id'}-{digest}"
