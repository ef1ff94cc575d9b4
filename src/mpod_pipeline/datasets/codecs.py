"""How one product's artifact lies in one file. A codec reads from and writes to a path that it is given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from kedro.utils import load_obj
from numpy.typing import NDArray
from PIL import Image, ImageSequence, PngImagePlugin

from mpod_pipeline.geometry.glb_file import GlbFile

#: The name under which a learned token is saved; the one the prompts use.
TOKEN = "<e>"
#: The text in a PNG of cutouts that says what they are.
PHOTOS = "photos"
#: What becomes of letters that UTF-8 lacks: Python's surrogates for the bytes of odd file names.
ESCAPED = "backslashreplace"


class Codec(Protocol):
    """One format of one product's artifact. `CODECS` has them by the name that a catalog gives as ``format``.

    ``suffixes``: what the files end with. The first is written, all are read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mug.json"
        >>> CODECS["json"].write({"psnr": 23.6}, path)
        >>> CODECS["json"].read(path)
        {'psnr': 23.6}
    """

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    def write(self, value: Any, path: Path) -> None: ...

    def read(self, path: Path) -> Any: ...


@dataclass(frozen=True)
class Picture:
    """A picture: uint8 [H, W], [H, W, 3] or [H, W, 4]. quality: of a format that loses some."""

    format: Literal["PNG", "WEBP"]
    quality: int | None = None

    @property
    def suffixes(self) -> tuple[str, ...]:
        return (f".{self.format.lower()}",)

    def write(self, value: NDArray[np.uint8], path: Path) -> None:
        options = {} if self.quality is None else {"quality": self.quality}
        Image.fromarray(value).save(path, format=self.format, **options)

    def read(self, path: Path) -> NDArray[np.uint8]:
        with Image.open(path) as image:
            return np.array(image)


class CutoutStrip:
    """`Cutouts`: the photos side by side in one PNG, which says in a text of its own where their cameras stood."""

    suffixes = (".png",)

    def write(self, value: Any, path: Path) -> None:
        about = [
            {"name": photo.name, "azimuth_deg": photo.azimuth_deg, "elevation_deg": photo.elevation_deg}
            for photo in value.photos
        ]
        text = PngImagePlugin.PngInfo()
        text.add_text(PHOTOS, json.dumps(about))
        strip = np.concatenate([photo.picture for photo in value.photos], axis=1)
        Image.fromarray(strip).save(path, format="PNG", pnginfo=text)

    def read(self, path: Path) -> Any:
        from mpod_pipeline.method.cutouts import Cutout, Cutouts  # as in `Stored`

        with Image.open(path) as image:
            image.load()
            if PHOTOS not in image.info:
                raise ValueError(f"{path.name} does not say any more where its cameras stood; delete it")
            about, strip = json.loads(image.info[PHOTOS]), np.array(image)
        pictures = np.split(strip, len(about), axis=1)
        return Cutouts(tuple(Cutout(picture=picture, **one) for picture, one in zip(pictures, about, strict=True)))


class Token:
    """A learned token's embedding, float [D], in the layout of diffusers' ``load_textual_inversion``.

    Read too: the older ``learned_embeds.bin`` (a pickled dict of one tensor), by PyTorch's loader of plain
    weights, which runs no code that the file brings along.
    """

    suffixes = (".safetensors", ".bin")

    def write(self, value: Any, path: Path) -> None:
        from safetensors.torch import save_file

        save_file({TOKEN: value.detach().cpu().contiguous()}, path)

    def read(self, path: Path) -> Any:
        import torch
        from safetensors.torch import load_file

        if path.suffix == ".bin":
            embeddings = torch.load(path, map_location="cpu", weights_only=True)
        else:
            embeddings = load_file(path)
        if len(embeddings) != 1:
            raise ValueError(f"{path.name} holds {len(embeddings)} tokens; exactly one is expected")
        (embedding,) = embeddings.values()
        if embedding.ndim == 2 and len(embedding) == 1:
            embedding = embedding[0]
        return embedding


@dataclass(frozen=True)
class Bytes:
    """A file's own bytes. kind: what they are read as, such as bytes that show themselves."""

    suffix: str
    kind: type[bytes] = bytes

    @property
    def suffixes(self) -> tuple[str, ...]:
        return (self.suffix,)

    def write(self, value: bytes, path: Path) -> None:
        path.write_bytes(value)

    def read(self, path: Path) -> bytes:
        return self.kind(path.read_bytes())


class Json:
    """Numbers, texts, lists and dicts."""

    suffixes = (".json",)

    def write(self, value: Any, path: Path) -> None:
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8", errors=ESCAPED)

    def read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except RecursionError as error:
            raise ValueError(f"{path.name} is nested too deep to be read") from error


class Animation:
    """Pictures [N, H, W, 3] uint8 as one animated WebP, which goes round and round."""

    suffixes = (".webp",)

    def write(self, value: NDArray[np.uint8], path: Path) -> None:
        first, *others = (Image.fromarray(frame) for frame in value)
        options = {"duration": 100, "loop": 0, "quality": 80, "method": 2}  # 100 ms a picture
        first.save(path, format="WEBP", save_all=True, append_images=others, **options)

    def read(self, path: Path) -> NDArray[np.uint8]:
        with Image.open(path) as image:
            return np.stack([np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])


class Script:
    """What JSON can hold, as the argument of a call: a page that lies on a disk may load scripts, but no data."""

    suffixes = (".js",)
    CALL = "loaded("

    def write(self, value: Any, path: Path) -> None:
        path.write_text(f"{self.CALL}{json.dumps(value, separators=(',', ':'))})\n", encoding="ascii")

    def read(self, path: Path) -> Any:
        return json.loads(path.read_text(encoding="ascii").strip()[len(self.CALL) : -1])


class Traceback:
    """Python's account of an error, in UTF-8; lies beside the record of the failure."""

    suffixes = (".traceback.txt",)

    def write(self, value: str, path: Path) -> None:
        path.write_text(value, encoding="utf-8", errors=ESCAPED)

    def read(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Stored:
    """An object that has ``stored`` and ``load``, or what its ``stored`` gives, in safetensors: all that renders it.

    kind: its class, by the full name. It is imported when one is read: the catalog is also opened by commands that
    never touch one.
    """

    kind: str
    suffixes: tuple[str, ...] = (".safetensors",)

    def write(self, value: Any, path: Path) -> None:
        (value.stored() if hasattr(value, "stored") else value).save(path)

    def read(self, path: Path) -> Any:
        return load_obj(self.kind).load(path)


class Npz:
    """Named arrays."""

    suffixes = (".npz",)

    def write(self, value: dict[str, NDArray], path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **value)  # type: ignore[arg-type]

    def read(self, path: Path) -> dict[str, NDArray]:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


@dataclass(frozen=True)
class Arrays(Npz):
    """A dataclass of arrays. kind: as of `Stored`."""

    kind: str

    def write(self, value: Any, path: Path) -> None:
        super().write(vars(value), path)

    def read(self, path: Path) -> Any:
        return load_obj(self.kind)(**super().read(path))


CODECS: dict[str, Codec] = {
    "png": Picture("PNG"),
    "cutouts": CutoutStrip(),
    "token": Token(),
    "npz": Npz(),
    "outline_masks": Arrays("mpod_pipeline.method.masks.OutlineMasks"),
    "model_views": Arrays("mpod_pipeline.method.comparison.views.ModelViews"),
    "glb": Bytes(".glb", GlbFile),
    "animation": Animation(),
    "script": Script(),
    "webp": Picture("WEBP", quality=85),
    "usdz": Bytes(".usdz"),
    "json": Json(),
    "traceback": Traceback(),
    "outline_field": Stored("mpod_pipeline.fields.outline_field.OutlineField"),
    "painted_surface": Stored("mpod_pipeline.fields.painted_surface.PaintedSurface"),
}
