"""Crops of the report page: each region of an image at the full resolution of the image, with thin outlines."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ..results import Region
from .overlay import draw_outlines

LONGEST_PX = 480  # side of a crop; of a larger region, the surroundings of its core or of its peak are shown
BYTES_PER_CARD = 49_152  # of all crops of an image together
_SHORTEST_PX = 96
_ENLARGED_PX = 320  # a smaller crop is enlarged by a whole number, up to this side and 4 times
_MARGIN = 0.25, 16  # on each side: a share of the side, and at least so many pixels
_MAX_BYTES = 24_576
_QUALITIES = (80, 65, 50, 35, 20)  # of JPEG; fine texture gets a lower one
_FINER = 3

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Crop:
    """A part of an image around one region.

    Attributes
    ----------
    url : str
        The picture as a data URL.
    box_px : (int, int, int, int)
        Left, top, width, height of the part, in pixels of the image.
    enlarged : int
        Pixels of the picture for each pixel of the image, along a side.
    """

    url: str
    box_px: Box
    enlarged: int


def draw_crops(image: Image.Image, regions: Sequence[Region], n_crops: int) -> tuple[Crop, ...]:
    """Draw a crop of each of the first regions.

    Parameters
    ----------
    image : PIL.Image.Image
        RGB, at its own size.
    regions : sequence of Region
        All regions of the image: a crop may show parts of several.
    n_crops : int
        The others get no crop.

    Returns
    -------
    tuple of Crop
        Together at most `BYTES_PER_CARD`, before base64.
    """
    crops = []
    n, left = min(n_crops, len(regions)), BYTES_PER_CARD
    for i, region in enumerate(regions[:n]):
        box = window(region, image.size)
        factor = max(1, min(4, _ENLARGED_PX // max(box[2:])))
        content = jpeg(_picture(image, regions, box, factor), min(_MAX_BYTES, left // (n - i)))
        left -= len(content)
        crops.append(Crop(data_url(content), box, factor))
    return tuple(crops)


def window(region: Region, image_size: tuple[int, int]) -> Box:
    """Return the left, top, width and height of a region's crop.

    Parameters
    ----------
    region : Region
    image_size : (int, int)
        Width and height of the image.
    """
    core = region.core_box_px if region.core_area_px else region.box_px
    left, width = _span((region.box_px[::2], core[::2]), region.peak_px[0], image_size[0])
    top, height = _span((region.box_px[1::2], core[1::2]), region.peak_px[1], image_size[1])
    return left, top, width, height


def _span(choices: Iterable[tuple[int, ...]], peak: int, side: int) -> tuple[int, int]:
    """Return start and length of a crop along one side of the image.

    It shows the first of `choices`, each start and length, that fits with its margins. If none fits, the peak is in the
    middle.
    """
    middle, length = peak + 0.5, LONGEST_PX
    for start, extent in choices:
        wanted = max(_SHORTEST_PX, extent + 2 * max(_MARGIN[1], round(_MARGIN[0] * extent)))
        if wanted <= LONGEST_PX:
            middle, length = start + extent / 2, wanted
            break
    length = min(length, side)
    return min(max(0, round(middle - length / 2)), side - length), length


def _picture(image: Image.Image, regions: Sequence[Region], box: Box, factor: int) -> Image.Image:
    left, top, w, h = box
    picture = image.crop((left, top, left + w, top + h))
    if factor > 1:
        picture = picture.resize((w * factor, h * factor), Image.Resampling.BICUBIC)
    near = [region for region in regions if _overlap(region.box_px, box)]
    whole = [region.contour_px for region in near]
    cores = [contour for region in near for contour in region.core_contours_px]
    draw_outlines(picture, *(_filled(contours, box, factor, picture.size) for contours in (whole, cores)))
    return picture


def _overlap(one: Box, other: Box) -> bool:
    return all(one[i] < other[i] + other[i + 2] and other[i] < one[i] + one[i + 2] for i in (0, 1))


def _filled(contours: Iterable[list[tuple[float, float]]], box: Box, factor: int, size: tuple[int, int]) -> np.ndarray:
    """Return the mask (h, w) of the pixels of a picture that are inside of contours in pixels of the image.

    Pillow fills the pixels on the line too. On a finer grid, these are never the middle of a pixel.
    """
    canvas = Image.new("1", (size[0] * _FINER, size[1] * _FINER))
    draw, scale = ImageDraw.Draw(canvas), factor * _FINER
    for contour in contours:
        if contour:
            draw.polygon([((x - box[0]) * scale - 0.5, (y - box[1]) * scale - 0.5) for x, y in contour], fill=1)
    return np.asarray(canvas)[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER]


def jpeg(image: Image.Image, max_bytes: int) -> bytes:
    """Return an image as a JPEG file of a limited size.

    The highest quality that fits is taken. If none fits, as with noise, the image is made smaller.

    Parameters
    ----------
    image : PIL.Image.Image
    max_bytes : int
    """
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality)
            if file.tell() <= max_bytes or max(image.size) < 16:
                return file.getvalue()
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)), Image.Resampling.BILINEAR)


def data_url(content: bytes) -> str:
    """Return a JPEG file as a URL that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()
