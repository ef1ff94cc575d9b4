import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.cutout.photos import MAX_SIDE, decode_mask, decode_photo

RED, GREEN = (200, 30, 40), (30, 160, 60)


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """Red on the left, green on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    return image


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, **options)
    return buffer.getvalue()


def left_and_right(photo: NDArray[np.uint8]) -> list[list[int]]:
    height, width, _ = photo.shape
    return [photo[height // 2, width // 8].tolist(), photo[height // 2, width * 7 // 8].tolist()]


@pytest.mark.parametrize(
    "format, options, tolerance",
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("PPM", {}, 0),
        ("TIFF", {}, 0),
        ("GIF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 4),  # lossy by a few levels, also below
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("AVIF", {"quality": 95}, 6),
        ("JPEG2000", {}, 4),
    ],
)
def test_common_formats(format: str, options: dict[str, object], tolerance: int) -> None:
    photo = decode_photo(encoded(picture(), format, **options))
    assert photo.shape == (48, 64, 3) and photo.dtype == np.uint8
    np.testing.assert_allclose(left_and_right(photo), [RED, GREEN], atol=tolerance)


def test_heic_is_read() -> None:
    np.testing.assert_allclose(left_and_right(decode_photo(heic(picture()))), [RED, GREEN], atol=4)
    clear = picture().convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    photo = decode_photo(heic(clear))
    assert photo.shape == (48, 64, 4) and photo[0, 0, 3] < 10 and photo[-1, 0, 3] > 245
    swapped = decode_photo(heic(picture(), icc_profile=swapped_profile()))
    np.testing.assert_allclose(swapped[24, 8], (RED[1], RED[0], RED[2]), atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("boxes", [True, False])
def test_heic_is_upright(orientation: int, boxes: bool) -> None:
    """As a JPEG of that orientation, whether the file says it in boxes of its own, as phones do, or in EXIF alone."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    corner = picture()
    corner.paste((20, 20, 200), (0, 0, 20, 16))
    data = heic(corner, exif=exif.tobytes())
    if not boxes:
        data = data.replace(b"irot", b"free").replace(b"imir", b"free")
    jpeg = decode_photo(encoded(corner, "JPEG", exif=exif, quality=95))
    photo = decode_photo(data)
    assert photo.shape == jpeg.shape
    assert np.abs(photo.astype(int) - jpeg).mean() < 4


def test_of_a_burst_of_heic_the_chosen_picture_is_taken() -> None:
    burst = pillow_heif.HeifFile()
    burst.add_from_pillow(picture())
    burst.add_from_pillow(picture().rotate(180))
    buffer = io.BytesIO()
    burst.save(buffer, quality=95, primary_index=1)
    np.testing.assert_allclose(left_and_right(decode_photo(buffer.getvalue())), [GREEN, RED], atol=4)


def test_a_mask_is_as_the_photo_is_seen() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(picture(6000, 4800), "JPEG", exif=exif)
    photo = decode_photo(file)
    mask = Image.new("L", (4800, 6000))
    mask.paste(255, (0, 0, 4800, 1500))
    drawn = decode_mask(encoded(mask), photo, file)
    assert drawn.shape == photo.shape[:2] and drawn[: len(drawn) // 4 - 2].all()
    assert not drawn[len(drawn) // 4 + 2 :].any()
    clear = Image.new("RGBA", (64, 48), (255, 255, 255, 0))  # white where nothing is seen
    clear.paste((255, 255, 255, 255), (0, 0, 16, 48))
    file = encoded(picture())
    assert decode_mask(encoded(clear), decode_photo(file), file).mean() == 0.25


@pytest.mark.parametrize(
    "mask, words",
    [
        (lambda: encoded(Image.new("L", (64, 48))), "empty"),
        (lambda: encoded(Image.new("L", (48, 64), 255)), "48 x 64 pixels and the photo 64 x 48"),
        (lambda: encoded(Image.new("L", (128, 96), 255)), "128 x 96 pixels and the photo 64 x 48"),
        (lambda: b"", "mask beside the photo cannot be used"),
    ],
)
def test_an_unusable_mask_says_why(mask: Callable[[], bytes], words: str) -> None:
    file = encoded(picture())
    with pytest.raises(ProductError, match=words) as caught:
        decode_mask(mask(), decode_photo(file), file)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK"])
def test_colour_modes(mode: str) -> None:
    format = "TIFF" if mode == "CMYK" else "PNG"
    image = picture().quantize(4) if mode == "P" else picture().convert(mode)
    photo = decode_photo(encoded(image, format))
    assert photo.shape == (48, 64, 3)  # an alpha that is opaque everywhere says nothing
    # Pillow's plain RGB -> CMYK -> RGB loses a level.
    np.testing.assert_allclose(left_and_right(photo), [RED, GREEN], atol=2)


def test_cmyk_jpeg_is_not_a_negative() -> None:
    photo = decode_photo(encoded(picture().convert("CMYK"), "JPEG", quality=95))
    np.testing.assert_allclose(left_and_right(photo), [RED, GREEN], atol=6)


@pytest.mark.parametrize("mode, expected", [("L", 77), ("1", 255), ("LA", 77)])
def test_grey_modes(mode: str, expected: int) -> None:
    image = Image.new("L", (40, 40), 77)
    if mode == "LA":
        image.putalpha(Image.linear_gradient("L").resize((40, 40)))
    elif mode == "1":
        image = Image.new("1", (40, 40), 1)
    photo = decode_photo(encoded(image))
    assert photo.shape == (40, 40, 4 if mode == "LA" else 3)
    assert (photo[..., :3] == expected).all()


def test_sixteen_bits_keep_their_range() -> None:
    ramp = np.tile(np.linspace(0, 65_535, 64).astype(np.uint16), (48, 1))
    photo = decode_photo(encoded(Image.fromarray(ramp)))
    assert photo.shape == (48, 64, 3)
    np.testing.assert_allclose(photo[0, :, 1], np.linspace(0, 255, 64), atol=0.51)  # rounding


def test_alpha_and_transparent_palette_survive() -> None:
    image = picture().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    photo = decode_photo(encoded(image))
    assert photo.shape == (48, 64, 4)
    assert photo[0, 0, 3] < 10 and photo[-1, 0, 3] > 245
    np.testing.assert_array_equal(photo[24, 8, :3], RED)

    palette = picture().quantize(4)
    green = palette.getpixel((60, 20))
    photo = decode_photo(encoded(palette, transparency=green))
    assert photo[24, 8, 3] == 255 and photo[24, 60, 3] == 0


def test_large_transparent_photo_shrinks_without_bleeding() -> None:
    pixels = np.zeros((3000, 3000, 4), np.uint8)
    pixels[..., 1] = 255  # green where it is transparent
    pixels[1000:2001, 999:2002] = (255, 0, 0, 255)
    photo = decode_photo(encoded(Image.fromarray(pixels), compress_level=1))
    assert photo.shape == (MAX_SIDE, MAX_SIDE, 4)
    edge = (photo[..., 3] > 16) & (photo[..., 3] < 255)
    assert edge.any() and photo[edge][:, 1].max() < 32  # 1/16 of coverage quantises colours to 1/16


@pytest.mark.parametrize("orientation, expected", [(1, "lr"), (3, "rl"), (6, "tb"), (8, "bt"), (2, "rl"), (5, "tb")])
def test_exif_rotation(orientation: int, expected: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = decode_photo(encoded(picture(), "JPEG", exif=exif, quality=95))
    if expected in ("lr", "rl"):
        first, last = left_and_right(photo)
    else:
        assert photo.shape == (64, 48, 3)
        first, last = left_and_right(photo.transpose(1, 0, 2))
    if expected in ("rl", "bt"):
        first, last = last, first
    np.testing.assert_allclose([first, last], [RED, GREEN], atol=6)


def swapped_profile() -> bytes:
    """A profile as sRGB is, with red and green swapped: converting swaps them back."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def test_embedded_profile_is_converted_to_srgb() -> None:
    for image in (picture(), picture().convert("RGBA")):
        if image.mode == "RGBA":
            image.putpixel((0, 0), (0, 0, 0, 0))
        photo = decode_photo(encoded(image, icc_profile=swapped_profile()))
        left, right = left_and_right(photo)
        # lcms rounds to a level or two.
        np.testing.assert_allclose(left[:3], (RED[1], RED[0], RED[2]), atol=3)
        np.testing.assert_allclose(right[:3], (GREEN[1], GREEN[0], GREEN[2]), atol=3)
        assert len(left) == len(image.mode)


def test_damaged_profile_is_ignored() -> None:
    photo = decode_photo(encoded(picture(), icc_profile=b"no profile at all"))
    np.testing.assert_array_equal(left_and_right(photo), [RED, GREEN])


def test_phone_pictures_with_a_second_frame_are_stills() -> None:
    data = encoded(picture(), "MPO", save_all=True, append_images=[picture()], quality=95)
    np.testing.assert_allclose(left_and_right(decode_photo(data)), [RED, GREEN], atol=6)


def test_large_jpeg_is_decoded_in_bounded_memory() -> None:
    data = encoded(Image.new("L", (12_000, 10_000), 90), "JPEG")
    tracemalloc.start()
    photo = decode_photo(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(photo.shape) == MAX_SIDE and (photo == 90).all()
    assert peak < 100e6  # numpy's share; the picture itself would have 360 MB


def animation(format: str) -> bytes:
    return encoded(picture(), format, save_all=True, append_images=[picture().rotate(180)], duration=100)


def bomb() -> bytes:
    """The header of a PNG that claims to have 16,000 x 16,000 pixels."""
    data = bytearray(encoded(picture()))
    data[16:24] = (16_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: b"", "empty"),
        (lambda: b"This is my product.\n" * 40, "not a picture"),
        (lambda: b"\x00\x00\x00\x18ftypheic" + bytes(64), "damaged or cut off"),
        (lambda: heic(picture(640, 480))[:900], "damaged or cut off"),
        (lambda: b"\x00\x00\x00\x18ftypmp42" + bytes(64), "video"),
        (lambda: encoded(picture(640, 480), "JPEG")[:3000], "damaged or cut off"),
        (lambda: encoded(Image.effect_noise((200, 200), 80))[:9000], "damaged or cut off"),
        (lambda: encoded(Image.new("RGB", (1, 1))), "only 1 x 1"),
        (lambda: encoded(Image.new("RGB", (300, 20))), "only 300 x 20"),
        (lambda: encoded(Image.new("L", (20_000, 900)), "JPEG"), "16384"),
        (lambda: encoded(Image.new("L", (9_000, 900)), "JPEG"), "panorama"),
        (lambda: animation("GIF"), "2 pictures"),
        (lambda: animation("WEBP"), "2 pictures"),
        (lambda: animation("TIFF"), "2 pictures"),
        (bomb, "too many pixels"),
        (lambda: encoded(Image.new("F", (64, 64)), "TIFF"), "decimal numbers"),
    ],
)
def test_unusable_files_say_why(make: Callable[[], bytes], words: str) -> None:
    with pytest.raises(ProductError, match=words) as caught:
        decode_photo(make())
    sentence = str(caught.value)
    assert sentence[0].isupper() and sentence.endswith(".") and "\n" not in sentence


def tiff(*pages: tuple[int, int, int, bytes]) -> bytes:
    """Grey pages, each (kind by tag 254, side in pixels, bits a pixel, pixels)."""
    data = bytearray(b"II*\0") + bytes(4)
    link = 4
    for kind, side, bits, pixels in pages:
        strip = len(data)
        data += pixels + bytes(len(pixels) % 2)
        tags = {254: kind, 256: side, 257: side, 258: bits, 259: 1, 262: 1, 273: strip, 277: 1, 278: side}
        tags[279] = len(pixels)
        data[link : link + 4] = struct.pack("<I", len(data))
        data += struct.pack("<H", len(tags))
        data += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
        link = len(data)
        data += bytes(4)
    return bytes(data)


def test_white_of_twelve_bits_is_white() -> None:
    photo = decode_photo(tiff((0, 64, 12, b"\xff" * (64 * 64 * 12 // 8))))
    assert photo.shape == (64, 64, 3) and (photo == 255).all()


def test_smaller_copies_and_masks_in_a_tiff_are_no_further_pictures() -> None:
    pages = [(1, 32, 8, bytes(1024)), (0, 64, 8, b"\x60" * 4096), (1, 40, 8, bytes(1600)), (4, 64, 8, bytes(4096))]
    for order in (pages, pages[1:]):  # the picture need not come first
        photo = decode_photo(tiff(*order))
        assert photo.shape == (64, 64, 3) and (photo == 0x60).all()
    with pytest.raises(ProductError, match="2 pictures"):
        decode_photo(tiff(pages[0], pages[1], pages[1]))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("kind", ["profile", "text"])
def test_much_beside_a_pictures_pixels_does_no_harm(kind: str) -> None:
    """As photo editors write it, compressed."""
    content = zlib.compress(bytes(3_000_000))
    more = {
        "profile": chunk(b"iCCP", b"profile\0\0" + content),
        "text": chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + content),
    }[kind]
    data, header = encoded(picture()), 8 + 25
    np.testing.assert_array_equal(left_and_right(decode_photo(data[:header] + more + data[header:])), [RED, GREEN])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_may_lack_its_end_but_none_of_its_pixels(progressive: bool) -> None:
    noise = Image.effect_noise((640, 480), 80)
    data = encoded(noise, "JPEG", quality=90, progressive=progressive)
    assert data.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(decode_photo(data[:-2]), decode_photo(data))
    for share in (0.3, 0.9, 0.99):
        with pytest.raises(ProductError, match="damaged or cut off"):
            decode_photo(data[: int(len(data) * share)])


def test_sixteen_bit_grey_is_converted_in_bounded_memory() -> None:
    ramp = np.linspace(0, 65_535, 5000).astype(np.uint16)
    data = encoded(Image.fromarray(np.tile(ramp, (5000, 1))), compress_level=1)
    tracemalloc.start()
    photo = decode_photo(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert photo.shape == (MAX_SIDE, MAX_SIDE, 3)
    assert peak < 5 * 25e6  # bytes a pixel; in float64 there were more than 16


def test_nonsense_in_exif_refuses_no_sound_photo() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "A maker"
    exif[0x0131] = "software " * 30  # stands behind it, and is read as numbers below
    data = encoded(picture(), "JPEG", exif=exif, quality=95)
    maker = (0x010F).to_bytes(2, "big") + (2).to_bytes(2, "big")  # of type ASCII
    little = (0x010F).to_bytes(2, "little") + (2).to_bytes(2, "little")
    (written,) = [entry for entry in (maker, little) if entry in data]
    for kind in (5, 10, 11, 12):  # a fraction, a signed one, numbers of 4 and of 8 bytes
        number = kind.to_bytes(2, "big" if written == maker else "little")
        assert decode_photo(data.replace(written, written[:2] + number)).shape == (64, 48, 3)
    header = data.index(b"Exif\0\0") + 6
    unreadable = decode_photo(data[:header] + b"XXXXXXXX" + data[header + 8 :])
    assert unreadable.shape == (48, 64, 3)  # as it lies


def test_a_second_page_that_nobody_can_read_is_the_photos_fault() -> None:
    pages = encoded(picture(), "TIFF", save_all=True, append_images=[picture(32, 48)])
    compression = (259).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    last = pages.rindex(compression)
    with pytest.raises(ProductError):
        decode_photo(pages[: last + 8] + (34712).to_bytes(2, "little") + pages[last + 10 :])


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
def test_damaged_bytes_never_escape_as_other_errors(format: str) -> None:
    generator = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    original = np.frombuffer(encoded(picture(), format, exif=exif), np.uint8)
    outcomes = []
    for _ in range(60):
        damaged = original.copy()
        places = generator.integers(0, min(len(damaged), 400), size=4)
        damaged[places] = generator.integers(0, 256, size=4)
        try:
            photo = decode_photo(damaged.tobytes())
            outcomes.append(photo.ndim == 3 and photo.shape[2] in (3, 4))
        except ProductError:
            outcomes.append(True)
    assert all(outcomes)
