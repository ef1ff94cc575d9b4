"""What a photo's own transparency says of the product: whether it cuts it out, and what of it is only a veil."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from mpod_pipeline.cutout.foreground import FloatArray, look, overlap
from mpod_pipeline.cutout.saliency import SaliencyNetwork

#: Smaller shares of a picture are no product, and no transparency that anybody meant.
SMALLEST_SHARE = 0.002
#: Less than this is as good as transparent, more than the other as good as solid.
FAINT, SOLID = 16, 250
#: Soft edges are narrower than twice this share of the long side; what is wider is a veil or glass.
EDGE = 0.008
#: Room round a picture that is shown to the network as one thing, a share of its long side.
ROOM = 0.15
#: Two different plain pages, grey levels: whatever colour the product has, it stands out from one of them.
PAGES = (255, 30)


def at_full_opacity(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo [H, W, 3 or 4] as if the product's layer had been saved at full opacity, where it was not."""
    if photo.shape[2] == 3 or not (seen := photo[..., 3][photo[..., 3] > FAINT]).size:
        return photo
    highest = np.percentile(seen, 99)
    alpha = (photo[..., 3] * (255.0 / highest)).round().clip(0, 255).astype(np.uint8)
    return np.dstack([photo[..., :3], alpha])


def sure_to_cut_out(photo: NDArray[np.uint8], network: SaliencyNetwork) -> float:
    """How sure it is, in [0, 1], that a photo's alpha cuts the product out; 0 where it does not.

    Alpha may also cut the whole photo out, as a card with rounded corners. Where little is transparent, as round a box
    that was cropped tight, the network tells the two apart: on plain pages it finds a product as a whole, and not a
    photo. On a page of its own colour it may also find a product.
    """
    if not has_alpha(photo):
        return 0.0
    clear = photo[..., 3] < 128
    rim = np.concatenate([photo[0], photo[-1], photo[:, 0], photo[:, -1]])
    if clear.mean() > 0.05 and (rim[:, 3] < 128).mean() > 0.25:
        return 1.0
    if any(overlap(_on_page(photo, page, network) > 0.5, ~clear) < 0.9 for page in PAGES):
        return 0.0
    own = np.median(rim[rim[:, 3] >= 128][:, :3], axis=0) if (rim[:, 3] >= 128).any() else PAGES[0]
    return overlap(_on_page(photo, own, network) > 0.5, ~clear)


def has_alpha(photo: NDArray[np.uint8]) -> bool:
    """Whether a photo [H, W, 3 or 4] is transparent somewhere, and somewhere not."""
    if photo.shape[2] == 3:
        return False
    clear = (photo[..., 3] < 128).mean()
    return bool(SMALLEST_SHARE < clear < 1 - SMALLEST_SHARE)


def without_veils(photo: NDArray[np.uint8], network: SaliencyNetwork) -> NDArray[np.uint8]:
    """A photo with alpha [H, W, 4] without the shadows and halos that lie in its layer; glass stays.

    A veil is half transparent, wider than a soft edge, and to the network no part of the product.
    """
    partly = (photo[..., 3] > FAINT) & (photo[..., 3] < SOLID)
    width = max(2, round(EDGE * max(partly.shape)))
    wide, count = ndimage.label(ndimage.binary_opening(partly, iterations=width))
    if count == 0:
        return photo
    brightness = photo[..., :3][photo[..., 3] >= SOLID].mean() if (photo[..., 3] >= SOLID).any() else 0
    likely = _on_page(photo, PAGES[0] if brightness < 200 else PAGES[1], network)
    kinds = np.arange(1, count + 1)
    veils = np.isin(wide, kinds[ndimage.median(likely, wide, kinds) < 0.5])
    # With the edge that the opening took off; and of its faint rim nothing stays that hangs on no part of the product.
    veils = ndimage.binary_dilation(veils, iterations=2 * width) & (photo[..., 3] < SOLID)
    alpha = np.where(veils, 0, photo[..., 3])
    parts, count = ndimage.label(alpha > 0)
    strongest = ndimage.maximum(alpha, parts, np.arange(count + 1))
    return np.dstack([photo[..., :3], np.where(strongest[parts] < 128, 0, alpha).astype(np.uint8)])


def on_page(photo: NDArray[np.uint8], page: ArrayLike = 255) -> NDArray[np.uint8]:
    """The photo [H, W, 3 or 4] as it looks on paper of a grey level or a colour [3], [H, W, 3]."""
    if photo.shape[2] == 3:
        return photo
    alpha = photo[..., 3:].astype(np.float32) / 255
    return (photo[..., :3] * alpha + np.asarray(page) * (1 - alpha)).round().astype(np.uint8)


def _on_page(photo: NDArray[np.uint8], page: ArrayLike, network: SaliencyNetwork) -> FloatArray:
    """What the network answers [H, W] on a photo with alpha that lies on a page, with room round it."""
    room = round(ROOM * max(photo.shape[:2]))
    wide = np.pad(photo, ((room, room), (room, room), (0, 0)))
    return look(on_page(wide, page), network, room=0.0)[room:-room, room:-room]
