"""How one product's artifact lies in one file. A codec reads from and writes to a path that it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
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


class Png:
    """A picture: uint8 [H, W], [H, W, 3] or [H, W, 4]."""

    suffixes = (".png",)

    def write(self, value: NDArray[np.uint8], path: Path) -> None:
        Image.fromarray(value).save(path, format="PNG")

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
        from mpod_pipeline.method.cutouts import Cutout, Cutouts  # as in `Field`

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


class Glb:
    """A binary glTF file, as bytes that show themselves."""

    suffixes = (".glb",)

    def write(self, value: bytes, path: Path) -> None:
        path.write_bytes(value)

    def read(self, path: Path) -> GlbFile:
        return GlbFile(path.read_bytes())


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
        first.save(
            path,
            format="WEBP",
            save_all=True,
            append_images=others,
            duration=100,  # ms a picture
            loop=0,
            quality=80,
            method=2,
        )

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


class Webp:
    """A picture: uint8 [H, W, 3]."""

    suffixes = (".webp",)

    def write(self, value: NDArray[np.uint8], path: Path) -> None:
        Image.fromarray(value).save(path, format="WEBP", quality=85)

    def read(self, path: Path) -> NDArray[np.uint8]:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))


class Usdz:
    """A USDZ package, as bytes."""

    suffixes = (".usdz",)

    def write(self, value: bytes, path: Path) -> None:
        path.write_bytes(value)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()


class Traceback:
    """Python's account of an error, in UTF-8; lies beside the record of the failure."""

    suffixes = (".traceback.txt",)

    def write(self, value: str, path: Path) -> None:
        path.write_text(value, encoding="utf-8", errors=ESCAPED)

    def read(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")


class Field:
    """An `OutlineField` (stage 1), or what its ``stored`` gives, in safetensors: all that is needed to render it."""

    suffixes = (".safetensors",)

    def write(self, value: Any, path: Path) -> None:
        _stored(value).save(path)

    def read(self, path: Path) -> Any:
        # Imported when a field is read: the catalog is also opened by commands that never touch one.
        from mpod_pipeline.fields.outline_field import OutlineField

        return OutlineField.load(path)


class Surface:
    """A `PaintedSurface` (stage 2), or what its ``stored`` gives, in safetensors."""

    suffixes = (".safetensors",)

    def write(self, value: Any, path: Path) -> None:
        _stored(value).save(path)

    def read(self, path: Path) -> Any:
        from mpod_pipeline.fields.painted_surface import PaintedSurface  # as in `Field`

        return PaintedSurface.load(path)


def _stored(value: Any) -> Any:
    return value.stored() if hasattr(value, "stored") else value


class Npz:
    """Named arrays."""

    suffixes = (".npz",)

    def write(self, value: dict[str, NDArray], path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **value)  # type: ignore[arg-type]

    def read(self, path: Path) -> dict[str, NDArray]:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


class Masks(Npz):
    """`OutlineMasks`."""

    def write(self, value: Any, path: Path) -> None:
        super().write(vars(value), path)

    def read(self, path: Path) -> Any:
        from mpod_pipeline.method.masks import OutlineMasks  # as in `Field`

        return OutlineMasks(**super().read(path))


class Views(Npz):
    """`ModelViews`."""

    def write(self, value: Any, path: Path) -> None:
        super().write(vars(value), path)

    def read(self, path: Path) -> Any:
        from mpod_pipeline.method.comparison.views import ModelViews  # as in `Field`

        return ModelViews(**super().read(path))


CODECS: dict[str, Codec] = {
    "png": Png(),
    "cutouts": CutoutStrip(),
    "token": Token(),
    "npz": Npz(),
    "outline_masks": Masks(),
    "model_views": Views(),
    "glb": Glb(),
    "animation": Animation(),
    "script": Script(),
    "webp": Webp(),
    "usdz": Usdz(),
    "json": Json(),
    "traceback": Traceback(),
    "outline_field": Field(),
    "painted_surface": Surface(),
}
