"""Overlays: an image beside its heat map, with the verdict, the score and a color scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..errors import one_line
from ..features.images import ImageLike, read
from ..results import Inspection

SCALE_TOP = 2.0  # the same for all images, in units of the limit; higher values get the same color
_TRANSPARENT_BELOW = 0.5
_LONG_SIDE_PX = 320, 900  # shortest and longest
_MARGIN, _HEADER, _BAR, _KEY = 12, 44, 74, 28
_DASH_PX = 3

# From dark violet through red to pale yellow. The lightness rises all the way, so any color vision can read it.
_STOPS = np.array(
    [(20, 11, 53), (101, 21, 110), (190, 55, 82), (246, 124, 21), (252, 225, 100), (252, 255, 190)], np.float64
)
_INK, _PAPER = (30, 30, 34), (250, 250, 248)
# Any color vision can tell these apart.
_TAGS = {"OK": (0, 96, 160), "UNSURE": (150, 110, 0), "NG": (196, 70, 0), "INVALID": (122, 92, 138)}


def colorize(values: np.ndarray) -> np.ndarray:
    """Return the colors of anomaly map values.

    Parameters
    ----------
    values : ndarray of shape (h, w)
        1 is the limit. Values outside 0 to `SCALE_TOP` get the color of the nearest value inside.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Red, green, blue.
    """
    place = np.clip(values / SCALE_TOP, 0, 1) * (len(_STOPS) - 1)
    low = np.minimum(place.astype(np.int64), len(_STOPS) - 2)
    part = (place - low)[..., None]
    colors: np.ndarray = np.round(_STOPS[low] * (1 - part) + _STOPS[low + 1] * part).astype(np.uint8)
    return colors


def opacity(values: np.ndarray) -> np.ndarray:
    """Return how much of the color of anomaly map values is seen over an image, from 0 to 0.7."""
    return np.clip((values - _TRANSPARENT_BELOW) / (1 - _TRANSPARENT_BELOW), 0, 1) * 0.7


@dataclass(frozen=True, eq=False)
class RenderedImage:
    """An inspected image as a person sees it, for the overlay and the report page.

    The image is read at first use and once only.

    Parameters
    ----------
    image : path, PIL.Image.Image or ndarray
        The image that `result` belongs to.
    result : Inspection
    """

    image: ImageLike
    result: Inspection

    @cached_property
    def rgb(self) -> Image.Image:
        """The image as 8-bit RGB, at its own size.

        Raises
        ------
        ImageError
            If the image cannot be read.
        """
        bands = read(self.image, self.result.path, self.result.value_range, math.inf).bands  # it was inspected
        return Image.merge("RGB", [b.convert("L") for b in bands]) if len(bands) == 3 else bands[0].convert("RGB")

    def panels(self, shortest_px: int, longest_px: int) -> tuple[Image.Image, Image.Image | None]:
        """Return the image and its heat map, resized so that the longer side is between two lengths.

        Parameters
        ----------
        shortest_px, longest_px : int
            Limits of the longer side, in pixels.

        Returns
        -------
        image : PIL.Image.Image
            RGB.
        heat_map : PIL.Image.Image or None
            RGB, of the same size: the image in gray with the anomaly map over it and outlines of regions and cores.
            None if the result has no map.

        Raises
        ------
        ImageError
            If the image cannot be read.
        """
        side = max(self.rgb.size)
        factor = min(max(shortest_px / side, 1.0), longest_px / side)
        w, h = (max(1, round(side * factor)) for side in self.rgb.size)
        image = self.rgb.resize((w, h), Image.Resampling.BILINEAR)
        return image, None if self.result.map is None else _heat_map(image, self.result)


def draw_overlay(rendered: RenderedImage) -> Image.Image:
    """Draw an image beside or above its heat map, with the verdict, the score and a color scale.

    Parameters
    ----------
    rendered : RenderedImage
        Its result must have a map.

    Returns
    -------
    PIL.Image.Image
        RGB. A color means the same value in every overlay.

    Raises
    ------
    ImageError
        If the image cannot be read.
    ValueError
        If the result has no map.
    """
    result = rendered.result
    image, heat_map = rendered.panels(*_LONG_SIDE_PX)
    if heat_map is None:
        raise ValueError(f"{result.path} has no map: {result.message}")
    w, h = image.size
    stacked = w > 1.6 * h
    panels = (w, 2 * h + _MARGIN) if stacked else (2 * w + _MARGIN, h)
    body = max(panels[1], 140)  # so that the scale is readable
    width = max(panels[0] + 2 * _MARGIN + _BAR, 420)
    foot = _KEY if result.regions else _MARGIN
    canvas = Image.new("RGB", (width, body + _HEADER + foot), _PAPER)
    canvas.paste(image, (_MARGIN, _HEADER))
    canvas.paste(heat_map, (_MARGIN, _HEADER + h + _MARGIN) if stacked else (2 * _MARGIN + w, _HEADER))
    _draw_header(canvas, result)
    _draw_scale(canvas, panels[0] + 2 * _MARGIN, _HEADER, body)
    if result.regions:
        _draw_key(canvas, _HEADER + body + _KEY // 2)
    return canvas


def _heat_map(image: Image.Image, result: Inspection) -> Image.Image:
    values = result.map_at(*image.size)
    gray = np.asarray(image.convert("L").convert("RGB"), np.float32)
    weight = opacity(values)[..., None]
    blended = Image.fromarray((gray * (1 - weight) + colorize(values) * weight).astype(np.uint8))
    draw_outlines(blended, result.mask_at(*image.size), result.core_at(*image.size))
    return blended


def draw_outlines(picture: Image.Image, regions: np.ndarray, cores: np.ndarray) -> None:
    """Draw a thin dashed line around regions and a strong one around their cores, both outside of what they enclose.

    Parameters
    ----------
    picture : PIL.Image.Image
        RGB. It is drawn on.
    regions, cores : ndarray of shape (h, w), bool
        Of the size of the picture.
    """
    rows, columns = np.indices(regions.shape)
    dashes = np.where((rows + columns) // _DASH_PX % 2, np.uint8(255), np.uint8(0))
    picture.paste(Image.fromarray(dashes).convert("RGB"), mask=_ring(regions, 0, 1))
    picture.paste((255, 255, 255), mask=_ring(cores, 0, 1))  # white beside black is visible on any background
    picture.paste((0, 0, 0), mask=_ring(cores, 1, 2))


def _ring(inside: np.ndarray, start_px: int, end_px: int) -> Image.Image:
    """Return a mask of the pixels whose distance to those inside is above `start_px` and at most `end_px`."""
    filled = Image.fromarray(np.where(inside, np.uint8(255), np.uint8(0)))
    # A filter of one pixel ends the process in Pillow 12.3.
    near, far = (filled.filter(ImageFilter.MaxFilter(2 * px + 1)) if px else filled for px in (start_px, end_px))
    return Image.fromarray(np.asarray(far) - np.asarray(near))


def _draw_header(canvas: Image.Image, result: Inspection) -> None:
    draw = ImageDraw.Draw(canvas)
    width = 52 if len(result.verdict) == 2 else 86
    draw.rounded_rectangle((_MARGIN, 9, _MARGIN + width, 35), 5, fill=_TAGS[result.verdict])
    draw.text((_MARGIN + width / 2, 22), result.verdict, font=ImageFont.load_default(17), fill="white", anchor="mm")
    text = f"score {result.score:.2f}   limit 1.00"
    font = ImageFont.load_default(17)
    draw.text((_MARGIN + width + 12, 22), text, font=font, fill=_INK, anchor="lm")
    left = _MARGIN + width + 12 + draw.textlength(text, font=font) + 18
    path = one_line(result.path.replace("\\", "/"))
    _draw_fitting(draw, (left, 22), path, canvas.width - _MARGIN - left)


def _draw_fitting(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, width: float) -> None:
    """Draw the end of a path, as much as fits."""
    font = ImageFont.load_default(13)
    shown = text
    while shown and draw.textlength(shown, font=font) > width:
        text = text[1:]
        shown = f"...{text}" if text else ""
    draw.text(place, shown, font=font, fill=(90, 90, 96), anchor="lm")


def _draw_scale(canvas: Image.Image, left: int, top: int, height: int) -> None:
    draw = ImageDraw.Draw(canvas)
    top, height = top + 8, height - 16
    values = np.repeat(np.linspace(SCALE_TOP, 0, height)[:, None], 18, axis=1)
    canvas.paste(Image.fromarray(colorize(values)), (left, top))
    for value, label in ((0.0, "0"), (0.5, "0.5"), (1.0, "1 limit"), (1.5, "1.5"), (SCALE_TOP, "2+")):
        y = top + round((height - 1) * (1 - value / SCALE_TOP))
        at_limit = value == 1.0
        draw.line((left if at_limit else left + 14, y, left + 22, y), fill=_INK, width=2 if at_limit else 1)
        draw.text((left + 26, y), label, font=ImageFont.load_default(13), fill=_INK, anchor="lm")


def _draw_key(canvas: Image.Image, y: int) -> None:
    """Tell what both kinds of outlines mean."""
    draw, font, left = ImageDraw.Draw(canvas), ImageFont.load_default(13), _MARGIN
    regions, cores = (np.zeros((canvas.height, canvas.width), bool) for _ in range(2))
    for lines, text in ((regions, "above the limit"), (cores, "core: above 2/3 of the region's peak")):
        lines[y - 4 : y + 5, left + 2 : left + 26] = True
        draw.text((left + 34, y), text, font=font, fill=_INK, anchor="lm")
        left += round(34 + draw.textlength(text, font=font) + 18)
    draw_outlines(canvas, regions, cores)
