"""The embedded segmenter: where in a photo the product is, without weights that have to be fetched.

Three sources of evidence, brought to agree in a few rounds:

- what is unlike the photo's border and what a classifier looks at, in EfficientNet-Lite0's deepest features: finds the
  product, but as a blurred blob that is too large;
- its features at half that depth, clustered: which textures lie in the blob and which outside;
- colours, clustered: sharp to the pixel, and the same on backdrop and blob where the blob is too large.

Each round measures how much more often each cluster occurs in the foreground than outside, and a weighted total
variation (the convex form of a graph cut; Unger et al., TVSeg, 2008) turns the sum of evidence into a mask whose
border follows the picture's edges.

Before a plain backdrop (most of the photo's border lies on one smooth surface of colour) that surface is known, and so
are what has its colour, what is a shadow on it, and what would lie beyond the photo's border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from mpod_pipeline.errors import ProductError
from mpod_pipeline.method.matting import signed_distance
from mpod_pipeline.metrics.encoders import EfficientNetLite0

FloatArray = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

#: Long side on which evidence is gathered, pixels.
COARSE_SIDE = 256
#: Long side on which the mask's border is drawn, pixels.
FINE_SIDE = 768
#: Long sides of the encoder's inputs: for unlikeness to the border and textures, and for the classifier's attention.
TEXTURE_SIDE, ATTENTION_SIDE = 448, 224
COLOUR_CLUSTERS, TEXTURE_CLUSTERS = 48, 32
#: Log-likelihood ratios of colours are cut off here, so that no single one outvotes all else.
MAX_EVIDENCE = 3.0
TEXTURE_WEIGHT = 0.5
#: The blob's threshold lies this far from Otsu's towards 1, because the blob is too large.
BLOB_MARGIN = 0.3
BLOB_SLOPE = 6.0
BORDER_PENALTY = 3.0
SMOOTHNESS = 8.0
ROUNDS = 6
#: Parts of the product have this share of its largest one's area at least, holes this share of its own, unless they are
#: seen to show a plain backdrop.
SMALLEST_PART, SMALLEST_HOLE = 0.05, 0.015
#: Border pixels nearer than this to a smooth surface (Lab units) are plain backdrop.
PLAIN_DEVIATION = 5.0
#: Log-odds that a pixel of exactly the plain backdrop's colour is backdrop.
BACKDROP_EVIDENCE = 3.0
#: Log-odds that what looks like a shadow, and fades into the backdrop, is none of the product.
SHADOW_EVIDENCE = 2.0
#: Steps at which ways to the border are told apart, Lab units a pixel of a picture of FINE_SIDE at most, as the next.
BARRIER_LEVELS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0)
#: A shadow's tint, by light that the product throws into it: chroma, Lab units.
SHADOW_TINT = 11.0
#: Pixels that a way to the border is wide, and over which an edge spreads.
WAY_WIDTH = 9
EDGE_WIDTH = 13
#: A shadow's border changes by less than this from one pixel to the next, Lab units.
FADING_CONTRAST = 2.5
#: Backdrop that is added round photos before a plain one, a share of the long side: a product may fill its photo.
MARGIN = 0.15
#: Smaller deviations (Lab units) from a smooth backdrop are paper, noise and compression.
BLANK_CONTRAST = 3.0


def find_foreground(photo: NDArray[np.uint8], encoder: EfficientNetLite0) -> Mask:
    """The product's mask [H, W] in a photo [H, W, 3], sRGB. Raises ProductError where none can be told."""
    rows, columns = find_picture(photo)
    mask = np.zeros(photo.shape[:2], bool)
    mask[rows, columns] = _find_in_picture(photo[rows, columns], encoder)
    return mask


def find_picture(photo: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns of the picture proper, without bars of one colour along whole sides (letterboxing)."""
    height, width = photo.shape[:2]
    top, bottom = _bar(photo), _bar(photo[::-1])
    sideways = photo[top : height - bottom].swapaxes(0, 1)
    left, right = _bar(sideways), _bar(sideways[::-1])
    return slice(top, height - bottom), slice(left, width - right)


def _bar(photo: NDArray[np.uint8]) -> int:
    """Height of a bar at the top: rows of one colour that end in a line across the whole width; 0 without one."""
    deviation = np.abs(photo[: len(photo) * 2 // 5] - np.median(photo[0], axis=0)).max(axis=2)
    plain = (deviation <= 10).mean(axis=1) > 0.98
    if plain.all() or not plain[0]:
        return 0
    height = int(np.argmin(plain))
    # Compression smears the line over a few rows. A gradient of the backdrop gets nowhere within them.
    beyond = deviation[height : height + 4].max(axis=0)
    return height + 2 if (beyond > 20).mean() > 0.95 else 0


def _find_in_picture(picture: NDArray[np.uint8], encoder: EfficientNetLite0) -> Mask:
    fine = _reduce(picture, FINE_SIDE)
    backdrop = Backdrop.of(_reduce(fine, COARSE_SIDE))
    if backdrop.residual_contrast < BLANK_CONTRAST:
        raise ProductError("The photo is blank: there is nothing in it but its background.")
    margin = round(MARGIN * max(fine.shape[:2])) if backdrop.is_plain else 0
    surface = backdrop.surface(fine.shape[:2], margin)
    mask = _find_with_room(_surround(fine, surface, margin), surface if backdrop.is_plain else None, encoder)
    mask = mask[margin : mask.shape[0] - margin, margin : mask.shape[1] - margin]
    _require_sense(mask)
    return _enlarge(mask.astype(np.float32), picture.shape[:2]) > 0.5


def _find_with_room(
    picture: NDArray[np.uint8], backdrop: FloatArray | None, encoder: EfficientNetLite0
) -> Mask:
    coarse = to_lab(_reduce(picture, COARSE_SIDE))
    evidence = gather_evidence(picture, coarse, backdrop, encoder)
    probability = evidence.agree()
    mask = evidence.solid(probability > 0.5, coarse, evidence.colour_ratio(coarse, probability))
    return evidence.refine(picture, mask, probability) if mask.any() else np.zeros(picture.shape[:2], bool)


def _reduce(picture: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """The picture [H, W, 3] with a long side of so many pixels at most."""
    scale = long_side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def to_lab(picture: NDArray[Any]) -> FloatArray:
    """sRGB [H, W, 3] to CIE Lab, L in [0, 100]."""
    return cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).astype(np.float32)


@dataclass(frozen=True)
class Backdrop:
    """A smooth surface through the colours on a photo's border: quadratic in x and y for each colour.

    lab: the surface over the photo, [h, w, 3]. border_share: how much of the border lies on it.
    residual_contrast: by how much the photo departs from the best such surface, Lab units.
    """

    lab: FloatArray
    border_share: float
    residual_contrast: float

    @classmethod
    def of(cls, picture: NDArray[np.uint8]) -> Backdrop:
        """Of a small picture [h, w, 3], sRGB. Robust: what crosses the border elsewhere counts little."""
        shape = picture.shape[:2]
        lab = to_lab(cv2.GaussianBlur(picture, (0, 0), 1)).reshape(-1, 3)
        y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        powers = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
        border = _border(shape).ravel() > 0
        weights = np.ones((int(border.sum()), 1))
        for _ in range(10):  # iteratively reweighted least squares with Cauchy's weights
            coefficients = np.linalg.lstsq(powers[border] * weights, lab[border] * weights, rcond=None)[0]
            deviation = np.linalg.norm(lab[border] - powers[border] @ coefficients, axis=1)
            weights = 1 / np.sqrt(1 + (deviation / PLAIN_DEVIATION) ** 2)[:, None]
        surface = (powers @ coefficients).reshape(*shape, 3).astype(np.float32)
        through_all = powers @ np.linalg.lstsq(powers, lab, rcond=None)[0]
        residual = np.percentile(np.linalg.norm(lab - through_all, axis=1), 99.8)
        return cls(surface, float((deviation < PLAIN_DEVIATION).mean()), float(residual))

    @property
    def is_plain(self) -> bool:
        return self.border_share > 0.85

    def surface(self, shape: tuple[int, int], margin: int) -> FloatArray:
        """The backdrop in Lab over a photo of that shape and a margin round it, [h + 2 margin, w + 2 margin, 3]."""
        surface = cv2.resize(self.lab, shape[::-1], interpolation=cv2.INTER_LINEAR)
        return cv2.copyMakeBorder(surface, margin, margin, margin, margin, cv2.BORDER_REPLICATE).astype(
            np.float32
        )


def _surround(picture: NDArray[np.uint8], surface: FloatArray, margin: int) -> NDArray[np.uint8]:
    """The picture [H, W, 3] with a margin of backdrop, the shape of the surface."""
    surrounded = (cv2.cvtColor(surface, cv2.COLOR_LAB2RGB).clip(0, 1) * 255).round().astype(np.uint8)
    surrounded[margin : margin + picture.shape[0], margin : margin + picture.shape[1]] = picture
    return surrounded


def backdrop_evidence(lab: FloatArray, surface: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What a plain backdrop tells of a picture, both [h, w, 3] in Lab.

    Evidence [h, w] for the product: negative where a pixel has the backdrop's colour. And in [0, 1], [h, w], how
    much it looks like a shadow on it: darker, but not by far, and of nearly the same chroma.
    """
    difference = lab - surface
    distance = np.linalg.norm(difference, axis=2)
    evidence = -BACKDROP_EVIDENCE * np.exp(-((distance / PLAIN_DEVIATION) ** 2))
    # A shadow takes the same share of each colour, so it scales chroma as it scales luminance.
    share = lab[..., 0] / np.maximum(surface[..., 0], 1)
    chroma = np.linalg.norm(lab[..., 1:] - share[..., None] * surface[..., 1:], axis=2)
    depth = np.clip((share - 0.4) / 0.2, 0, 1) * (share < 1)
    return evidence, (depth * np.exp(-((chroma / SHADOW_TINT) ** 2))).astype(np.float32)


def barrier_to_border(lab: FloatArray) -> FloatArray:
    """The steepest step on the smoothest way from each pixel to the picture's border, Lab units a pixel, [h, w].

    High inside what has an edge all round, low in what fades into its surroundings.
    """
    smooth = cv2.GaussianBlur(lab, (0, 0), 1)
    across, down = cv2.Sobel(smooth, -1, 1, 0, scale=1 / 8), cv2.Sobel(smooth, -1, 0, 1, scale=1 / 8)
    steepness = np.sqrt((across**2 + down**2).sum(axis=2))
    # A way is as wide as this filter: through a gap narrower than that, a product's edge goes on.
    steepness = ndimage.maximum_filter(steepness, size=WAY_WIDTH)
    frame = _border(steepness.shape) > 0
    barrier = np.full(steepness.shape, BARRIER_LEVELS[-1], np.float32)
    for level in reversed(BARRIER_LEVELS):
        regions, _ = ndimage.label(steepness < level)
        barrier[np.isin(regions, np.unique(regions[frame & (regions > 0)]))] = level
    # An edge is as wide as the filters are: what lies before it is as open as what lies before that.
    return ndimage.minimum_filter(barrier, size=EDGE_WIDTH).astype(np.float32)


def _require_sense(mask: Mask) -> None:
    share = mask.mean()
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    if share < 0.002:
        raise ProductError("No product could be found in the photo; take it before a plain background.")
    if share > 0.95 or border > 0.8:
        raise ProductError(
            "The product cannot be told from the background; take the photo from further away, before a plain one."
        )


# Evidence


@dataclass(frozen=True)
class Clusters:
    """Kinds of pixels: centres [K, D] in a feature space, and the spread of pixels round them."""

    centres: FloatArray
    variance: float

    @classmethod
    def of(cls, pixels: FloatArray, count: int) -> Clusters:
        """Of pixels [N, D], by k-means on a fixed sample."""
        sample = pixels[np.random.default_rng(0).permutation(len(pixels))[:12_000]].astype(np.float32)
        cv2.setRNGSeed(0)
        stop = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 20, 0.1)
        labels = np.empty((0, 1), np.int32)
        centres = cv2.kmeans(sample, count, labels, stop, 1, cv2.KMEANS_PP_CENTERS)[2].astype(np.float32)
        spread = float(np.median(_square_distances(sample, centres).min(axis=1)))
        return cls(centres, spread + 1.0)

    def memberships(self, pixels: FloatArray) -> FloatArray:
        """How much each pixel [N, D] belongs to each cluster, [N, K], rows summing to 1."""
        distance = _square_distances(pixels, self.centres)
        weight = np.exp((distance.min(axis=1, keepdims=True) - distance) / np.float32(2 * self.variance))
        return weight / weight.sum(axis=1, keepdims=True)


def _square_distances(pixels: FloatArray, centres: FloatArray) -> FloatArray:
    distance = (pixels**2).sum(axis=1)[:, None] - 2 * pixels @ centres.T + (centres**2).sum(axis=1)
    return np.maximum(distance, 0, dtype=np.float32)


def log_ratios(memberships: FloatArray, probability: FloatArray) -> FloatArray:
    """How much likelier each cluster is in the foreground than outside, natural logarithm, [K].

    memberships: [N, K]; probability: of being foreground, [N].
    """
    inside, outside = probability @ memberships, (1 - probability) @ memberships
    floor = 0.02 / memberships.shape[1]
    inside /= max(inside.sum(), 1)
    outside /= max(outside.sum(), 1)
    return np.log((inside + floor) / (outside + floor))


@dataclass(frozen=True)
class Evidence:
    """What speaks for the foreground at each coarse pixel [h, w]."""

    lab: FloatArray  # [h, w, 3]
    blob: FloatArray  # [h, w], log-odds of where the product is, coarse
    colours: Clusters
    colour_memberships: FloatArray  # [h w, K]
    texture_memberships: FloatArray  # [h w, K']
    backdrop: FloatArray | None  # Lab, of any resolution, where the photo has a plain one
    barrier: (
        FloatArray | None
    )  # [H, W], what parts a pixel of the picture from its border, before a plain backdrop

    def agree(self) -> FloatArray:
        """Probability of foreground [h, w], in practice 0 or 1 nearly everywhere."""
        shape = self.blob.shape
        probability: FloatArray = 1 / (1 + np.exp(-self.blob))
        edges = edge_weights(self.lab)
        for _ in range(ROUNDS):
            unary = self._context(probability) + self._pixel_evidence(
                self.lab, self._colour_evidence(probability).reshape(shape)
            )
            probability = minimize_total_variation(-unary, edges, probability, iterations=60)
        return probability

    def _context(self, probability: FloatArray) -> FloatArray:
        """Blob and texture: what is known of a neighbourhood, [h, w]."""
        ratios = log_ratios(self.texture_memberships, probability.ravel())
        textures = np.clip(self.texture_memberships @ ratios, -MAX_EVIDENCE, MAX_EVIDENCE)
        # Inside the blob its strength says no more; the blob alone makes nothing foreground.
        return np.minimum(self.blob, 0) + TEXTURE_WEIGHT * textures.reshape(self.blob.shape)

    def _colour_evidence(self, probability: FloatArray) -> FloatArray:
        ratios = log_ratios(self.colour_memberships, probability.ravel())
        return np.clip(self.colour_memberships @ ratios, -MAX_EVIDENCE, MAX_EVIDENCE)

    def _pixel_evidence(self, lab: FloatArray, colours: FloatArray) -> FloatArray:
        if self.backdrop is None or self.barrier is None:
            return colours
        surface = cv2.resize(self.backdrop, lab.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(
            np.float32
        )
        barrier = cv2.resize(self.barrier, lab.shape[1::-1], interpolation=cv2.INTER_AREA)
        fading = np.exp(-((barrier / FADING_CONTRAST) ** 2))
        against, shadow = backdrop_evidence(lab, surface)
        shadow = shadow * fading
        return (1 - shadow) * colours + shadow * np.minimum(colours, -SHADOW_EVIDENCE) + against

    def colour_ratio(self, lab: FloatArray, probability: FloatArray) -> FloatArray:
        """Log-likelihood ratio of the colours of any picture [H, W, 3], given the coarse foreground; [H, W]."""
        ratios = log_ratios(self.colour_memberships, probability.ravel())
        pixels = lab.reshape(-1, 3)
        # By parts, so that the memberships of a large picture never stand in memory together.
        parts = np.array_split(pixels, max(1, len(pixels) // 16_384))
        ratio = np.concatenate([self.colours.memberships(part) @ ratios for part in parts])
        return np.clip(ratio, -MAX_EVIDENCE, MAX_EVIDENCE).reshape(lab.shape[:2])

    def solid(self, mask: Mask, lab: FloatArray, colour_ratio: FloatArray) -> Mask:
        """A mask [H, W] of a picture in Lab, [H, W, 3], without specks and without holes that show no backdrop.

        Before a plain backdrop a hole shows it if its colour is it; else a hole must be large, and of colours that the
        product has not.
        """
        parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
        if count == 0:
            return mask
        areas = np.bincount(parts.ravel())[1:]
        solid = np.isin(parts, 1 + np.flatnonzero(areas >= SMALLEST_PART * areas.max()))
        holes, count = ndimage.label(ndimage.binary_fill_holes(solid) & ~solid)
        if count == 0:
            return solid
        indices = np.arange(1, count + 1)
        shows_backdrop, smallest = ndimage.mean(colour_ratio, holes, indices) < -1, SMALLEST_HOLE
        if self.backdrop is not None:
            surface = cv2.resize(self.backdrop, lab.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            distance = ndimage.median(np.linalg.norm(lab - surface, axis=2), holes, indices)
            shows_backdrop, smallest = distance < PLAIN_DEVIATION, SMALLEST_HOLE / 10
        shows_backdrop &= np.bincount(holes.ravel())[1:] >= smallest * solid.sum()
        return solid | np.isin(holes, indices[~shows_backdrop])

    def refine(self, picture: NDArray[np.uint8], mask: Mask, probability: FloatArray) -> Mask:
        """The coarse mask [h, w] with its border drawn anew at the picture's resolution, [H, W]."""
        height, width = picture.shape[:2]
        magnification = max(height, width) / max(mask.shape)
        lab = to_lab(picture)
        soft = _enlarge(mask.astype(np.float32), (height, width))
        context = np.clip(_enlarge(self._context(probability), (height, width)), -MAX_EVIDENCE, MAX_EVIDENCE)
        colour_ratio = self.colour_ratio(lab, probability)
        unary = context + self._pixel_evidence(lab, colour_ratio)
        band = round(3 * magnification)
        decided = signed_distance(soft > 0.5)
        unary = np.where(np.abs(decided) > band, np.sign(decided) * 10, unary).astype(np.float32)
        # A border is `magnification` times as long here, and areas grow with its square.
        edges = edge_weights(lab) * magnification
        refined = minimize_total_variation(-unary, edges, soft, iterations=40) > 0.5
        return self.solid(refined, lab, colour_ratio)


def gather_evidence(
    picture: NDArray[np.uint8], lab: FloatArray, backdrop: FloatArray | None, encoder: EfficientNetLite0
) -> Evidence:
    """Evidence for a picture [H, W, 3] at the resolution of its small version in Lab, [h, w, 3]."""
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255
    shape = lab.shape[:2]
    with torch.no_grad():
        textures, contents = encoder.stages(image, _encoder_size(image, TEXTURE_SIDE))
        _, attended = encoder.stages(image, _encoder_size(image, ATTENTION_SIDE))
        unlike_border = _enlarge(_stretch(unlikeness_to_border(contents[0])), shape)
        attention = _enlarge(_stretch(class_attention(attended[0], encoder)), shape)
    salience = (unlike_border.clip(0, 1) + attention.clip(0, 1)) / 2
    threshold = _otsu(salience)
    threshold += BLOB_MARGIN * (1 - threshold)
    blob = BLOB_SLOPE * (salience - threshold) - BORDER_PENALTY * _border(shape)
    texture_pixels = np.stack(
        [_enlarge(c, shape) for c in _main_components(textures[0], 8)], axis=-1
    ).reshape(-1, 8)
    colour_pixels = lab.reshape(-1, 3)
    colours = Clusters.of(colour_pixels, COLOUR_CLUSTERS)
    return Evidence(
        lab=lab,
        blob=blob.astype(np.float32),
        colours=colours,
        colour_memberships=colours.memberships(colour_pixels),
        texture_memberships=Clusters.of(texture_pixels, TEXTURE_CLUSTERS).memberships(texture_pixels),
        backdrop=backdrop,
        barrier=barrier_to_border(to_lab(picture)) if backdrop is not None else None,
    )


def _encoder_size(image: Tensor, long_side: int) -> tuple[int, int]:
    """The image's shape at a long side, in multiples of the encoder's stride of 32."""
    height, width = image.shape[-2:]
    scale = long_side / max(height, width)
    return max(32, round(height * scale / 32) * 32), max(32, round(width * scale / 32) * 32)


def unlikeness_to_border(features: Tensor) -> FloatArray:
    """1 - mean cosine of each position's features [C, h, w] to the 8 most similar ones on the border, [h, w]."""
    _, height, width = features.shape
    border = torch.from_numpy(_border((height, width), share=0.07)).bool().flatten()
    centred = (features - features.mean(dim=(1, 2), keepdim=True)).flatten(1)
    unit = torch.nn.functional.normalize(centred, dim=0)
    similarity = unit.T @ unit[:, border]
    nearest = similarity.topk(min(8, similarity.shape[1]), dim=1).values
    return (1 - nearest.mean(dim=1)).reshape(height, width).numpy()


def class_attention(features: Tensor, encoder: EfficientNetLite0) -> FloatArray:
    """Where the classes that the classifier sees are, from the deepest features [1280, h, w]; [h, w].

    Class activation maps (Zhou et al., 2016) of the ten likeliest classes, against the mean of all classes.
    """
    chance, classes = encoder.classify(features.mean(dim=(1, 2))).softmax(dim=0).topk(10)
    weights = encoder.class_weights
    sought = (chance / chance.sum()) @ weights[classes] - weights.mean(dim=0)
    return torch.einsum("c,chw->hw", sought, features).numpy()


def _main_components(features: Tensor, count: int) -> FloatArray:
    """The first principal components [count, h, w] of features [C, h, w], scaled as colours are."""
    height, width = features.shape[1:]
    centred = features.flatten(1) - features.flatten(1).mean(dim=1, keepdim=True)
    _, directions = torch.linalg.eigh(centred @ centred.T)
    components = directions.T.flip(0)[:count] @ centred  # eigenvalues ascend
    return (8 * components / components[0].std()).reshape(count, height, width).numpy()


def _stretch(values: FloatArray) -> FloatArray:
    low, high = np.percentile(values, [2, 98])
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def _enlarge(values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    return cv2.resize(np.ascontiguousarray(values), shape[::-1], interpolation=cv2.INTER_CUBIC).astype(
        np.float32
    )


def _otsu(values: FloatArray) -> float:
    """Otsu's threshold of values in [0, 1]."""
    levels = (values * 255).astype(np.uint8)
    return cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0] / 255


def _border(shape: tuple[int, int], share: float = 0.02) -> FloatArray:
    """1 on a frame along the border, its width a share of each long side, else 0."""
    thickness = max(1, round(share * max(shape)))
    frame = np.ones(shape, np.float32)
    frame[thickness:-thickness, thickness:-thickness] = 0
    return frame


# From evidence to a mask


def edge_weights(lab: FloatArray) -> FloatArray:
    """What a border costs at each pixel of [h, w, 3], [h, w]: little where colours change."""
    change = np.zeros(lab.shape[:2], np.float32)
    change[:, :-1] += ((lab[:, 1:] - lab[:, :-1]) ** 2).sum(axis=2)
    change[:-1] += ((lab[1:] - lab[:-1]) ** 2).sum(axis=2)
    return SMOOTHNESS * np.exp(-change / (2 * change.mean() + 1e-6)) + 0.02


def minimize_total_variation(
    cost: FloatArray, edges: FloatArray, start: FloatArray, *, iterations: int
) -> FloatArray:
    """argmin over u in [0, 1] of sum(edges |grad u| + cost u), all [h, w].

    Chambolle and Pock's primal-dual steps (2011). At the minimum, {u > 1/2} is a minimal cut.
    """
    u, ahead = start.astype(np.float32), start.astype(np.float32)
    across, down = np.zeros_like(u), np.zeros_like(u)
    step = np.float32(1 / np.sqrt(8))  # the gradient's norm is at most sqrt(8)
    for _ in range(iterations):
        across[:, :-1] += step * (ahead[:, 1:] - ahead[:, :-1])
        down[:-1] += step * (ahead[1:] - ahead[:-1])
        excess = np.maximum(1, np.sqrt(across * across + down * down) / edges)
        across /= excess
        down /= excess
        divergence = across + down
        divergence[:, 1:] -= across[:, :-1]
        divergence[1:] -= down[:-1]
        before, u = u, np.clip(u + step * (divergence - cost), 0, 1)
        ahead = 2 * u - before
    return u
