"""Reading the photos that a shop has: every common file, upright, sRGB, of a bounded size.

Whatever cannot be used ends as a ProductError with one sentence for a shop clerk.
"""

from __future__ import annotations

import io
from functools import cache

import cv2
import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from mpod_pipeline.base.errors import ProductError

#: Formats that are read. A closed list, because Pillow's other readers include one that runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM")
#: What the first box of a HEIF file, such as a phone's HEIC, says of its kind.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
DAMAGED = "The photo file is damaged or cut off; upload it again."
#: What turns a picture upright, by its orientation in EXIF.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Photos are worked on with this long side at most, in pixels.
MAX_SIDE = 2048
#: Longer sides than any camera's single photo: stitched panoramas, scans of posters.
MAX_FILE_SIDE = 16_384
#: Pixels that are decoded at most, after what a JPEG can be reduced by while it is decoded.
MAX_DECODED_PIXELS = 100_000_000
MIN_SIDE = 32
#: Longer to shorter side. A product fills a good part of its photo, so a longer strip shows something else.
MAX_ASPECT = 5.0
#: Bytes of a profile or a text beside a PNG's picture: photo editors write more than Pillow's one megabyte.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
#: A TIFF's tags for what a page is, and the bits of the former that say: not a picture of its own.
SUBFILE, BITS_PER_SAMPLE = 254, 258
REDUCED_OR_MASK = 0b101
#: Rows that are converted at a time, so that memory holds little beside the picture itself.
STRIP = 256
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


def decode_photo(data: bytes) -> NDArray[np.uint8]:
    """Read a photo. EXIF rotation is applied, and an embedded profile is converted to sRGB.

    Args:
        data: The file's bytes: JPEG, PNG, WebP, HEIC and what else Pillow reads.

    Returns:
        [H, W, 3] uint8 in sRGB, or [H, W, 4] where some of it is transparent. The long side has `MAX_SIDE` pixels at
        most.

    Raises:
        ProductError: It is no usable still photo of a product.
    """
    try:
        return _read(data)
    except ProductError:
        raise
    except UnidentifiedImageError as error:
        raise ProductError(_explain_unknown(data)) from error
    except Image.DecompressionBombError as error:
        raise ProductError("The photo has far too many pixels; save it smaller and try again.") from error
    except MemoryError:
        raise
    except Exception as error:  # over damaged files Pillow's readers raise errors of every kind
        if _lacks_only_its_end(data):
            return _read(data + JPEG_END)
        raise ProductError(DAMAGED) from error


def _read(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=_readable_formats()) as image:
        _go_to_the_still(image)
        _require_sensible_size(image)
        return _decode(image, _orientation(image, data))


def _lacks_only_its_end(data: bytes) -> bool:
    """Whether a JPEG that does not end has all its pixels: then it is the same picture, whatever follows."""
    if not data.startswith(JPEG_START):
        return False
    noise = bytes(range(1, 255)) * 4  # no 0xFF, so no marker: pixels that are missing would be made of it
    try:
        first, second = (_read(data + more + JPEG_END) for more in (b"", noise))
    except Exception:  # as above
        return False
    return np.array_equal(first, second)


@cache
def _readable_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    pi_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _explain_unknown(data: bytes) -> str:
    if not data:
        return "The photo file is empty; upload it again."
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        return DAMAGED
    if data[4:8] == b"ftyp" and data[8:12] != b"avif":
        return "The file is a video, or a camera's raw picture; save a still photo as JPEG or PNG."
    return "The file is not a picture that can be read, whatever its name says; save the photo as JPEG or PNG."


def _go_to_the_still(image: Image.Image) -> None:
    """Raise ProductError unless the file holds one picture. (Beside it a TIFF may have smaller copies and masks.)"""
    frames = list(range(getattr(image, "n_frames", 1)))
    if image.format == "TIFF":
        frames = [frame for frame in frames if not _page_kind(image, frame) & REDUCED_OR_MASK] or frames
    # An MPO or a HEIF is a still with a depth map or further exposures behind it, as phones write them.
    if len(frames) > 1 and image.format not in ("MPO", "HEIF"):
        raise ProductError(
            f"The file holds {len(frames)} pictures (an animation or several pages); one still photo is needed."
        )
    if image.format == "TIFF":
        image.seek(frames[0])


def _page_kind(image: Image.Image, page: int) -> int:
    image.seek(page)
    return image.tag_v2.get(SUBFILE, 0)  # type: ignore[attr-defined]  # of a TIFF


def _require_sensible_size(image: Image.Image) -> None:
    long, short = max(image.size), min(image.size)
    size = f"{image.width} x {image.height} pixels"
    if short < MIN_SIDE:
        raise ProductError(f"The photo has only {size}; each side needs at least {MIN_SIDE}.")
    if long > MAX_FILE_SIDE:
        raise ProductError(f"The photo has {size}; its longer side may have {MAX_FILE_SIDE} at most.")
    if long > MAX_ASPECT * short:
        raise ProductError(
            f"The photo is a strip of {size}, like a panorama; crop it to the product "
            f"(the longer side at most {MAX_ASPECT:g} times the shorter)."
        )


def _orientation(image: Image.Image, data: bytes) -> int | None:
    """How the camera was held, by EXIF."""
    if image.format == "HEIF":
        # Its reader turns the picture by the file's own boxes, and EXIF does not count beside them. But some writers
        # have no such boxes.
        return None if b"irot" in data or b"imir" in data else image.info["original_orientation"]
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a block that cannot be read says nothing; the picture may be sound
        return None


def _decode(image: Image.Image, orientation: int | None) -> NDArray[np.uint8]:
    progressive = bool(image.info.get("progressive") or image.info.get("progression"))
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (MAX_SIDE, MAX_SIDE))  # decodes at 1/2, 1/4 or 1/8 where that is still large enough
        if not progressive:  # a progressive file's coefficients are all held, whatever it is reduced by
            pixels = image.width * image.height
    if pixels > MAX_DECODED_PIXELS:
        raise ProductError(
            f"The photo has {pixels / 1e6:.0f} million pixels; save it smaller, at most "
            f"{MAX_DECODED_PIXELS / 1e6:.0f} million."
        )
    image.load()
    profile = image.info.get("icc_profile")
    upright = _bounded(_eight_bit(_upright(image, orientation)))
    return _as_array(_to_srgb(upright, profile))


def _upright(image: Image.Image, orientation: int | None) -> Image.Image:
    """The image as it was seen. (Pillow's own `exif_transpose` also writes the whole block anew, and fails where a
    camera wrote nonsense about something else.)
    """
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in a mode that can be resized and converted: L, LA, RGB, RGBA, CMYK or LAB."""
    if image.mode.startswith("I"):
        return _grey(np.asarray(image), _white(image))
    if image.mode == "F":
        raise ProductError("The photo stores its pixels as decimal numbers; save it as JPEG or PNG.")
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB") else image.convert("RGB")


def _white(image: Image.Image) -> float | None:
    """The number that stands for white in a grey picture of more than 8 bits, where its file says it."""
    bits = image.tag_v2.get(BITS_PER_SAMPLE, (16,))[0] if hasattr(image, "tag_v2") else 16
    return 2.0**bits - 1 if bits < 16 else None


def _grey(values: NDArray, white: float | None) -> Image.Image:
    white = white or (65_535.0 if values.max() > 255 else 255.0)
    grey = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), STRIP):
        strip = values[top : top + STRIP].clip(0, white)
        grey[top : top + STRIP] = np.round(strip / white * 255)
    return Image.fromarray(grey)


def _bounded(image: Image.Image) -> Image.Image:
    if max(image.size) > MAX_SIDE:
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)  # premultiplies modes with alpha itself
    return image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image as RGB or RGBA in sRGB, by its embedded profile where it has one that fits."""
    target = "RGBA" if "A" in image.mode and image.mode != "LAB" else "RGB"
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None is for inPlace only
        return converted
    if not profile:
        return image.convert(target)
    colours = image.convert(image.mode.removesuffix("A")) if target == "RGBA" else image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(colours, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a profile that is damaged or of another mode counts for nothing
        return image.convert(target)
    assert converted is not None
    if target == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


def _as_array(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.array(image)
    return pixels[..., :3].copy() if pixels.shape[2] == 4 and (pixels[..., 3] == 255).all() else pixels


def decode_mask(data: bytes, photo: NDArray[np.uint8], photo_file: bytes) -> NDArray[np.bool_]:
    """Read a mask of a product, drawn white on black.

    Args:
        data: The bytes of the mask's file.
        photo: The decoded photo, [H, W, 3 or 4].
        photo_file: The bytes of the file that the photo came from.

    Returns:
        [H, W] bool.

    Raises:
        ProductError: It is not as large as the photo, or shows nothing.
    """
    try:
        mask = decode_photo(data)
        size, due = _upright_size(data), _upright_size(photo_file)
    except ProductError as error:
        raise ProductError(f"The mask beside the photo cannot be used. {error}") from error
    if size != due:
        raise ProductError(
            f"The mask beside the photo has {size[0]} x {size[1]} pixels and the photo {due[0]} x {due[1]}; "
            "draw the mask on the photo itself, without cropping or resizing."
        )
    white = mask[..., :3].mean(axis=2) * (mask[..., 3] / 255 if mask.shape[2] == 4 else 1)
    white = cv2.resize(white, photo.shape[1::-1], interpolation=cv2.INTER_AREA) > 127
    if not white.any():
        raise ProductError("The mask beside the photo is empty; draw the product white on black.")
    return white


def _upright_size(data: bytes) -> tuple[int, int]:
    """Width and height of the photo in a file that can be decoded, as it is to be seen."""
    with Image.open(io.BytesIO(data), formats=_readable_formats()) as image:
        turned = _orientation(image, data) in (5, 6, 7, 8)
        return (image.height, image.width) if turned else image.size
