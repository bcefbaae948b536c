"""Images for people: the image beside itself with its score map over it, a scale and the score."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..features.images import ImageLike, read
from ..results import Inspection

SCALE_TOP = 2.0  # of every overlay of every image: 1.0 is the limit, more than 2.0 looks like 2.0
_FAINT_FROM = 0.5  # below, the image is left as it is
_LONG_SIDE_PX = 320, 900  # panels are brought between these
_MARGIN, _HEADER, _BAR = 12, 44, 74

# Dark violet over red to pale yellow: lightness rises all the way, so it reads the same with any colour vision.
_STOPS = np.array(
    [(20, 11, 53), (101, 21, 110), (190, 55, 82), (246, 124, 21), (252, 225, 100), (252, 255, 190)], np.float64
)
_INK, _PAPER = (30, 30, 34), (250, 250, 248)
TAG = {
    "OK": (0, 96, 160),
    "UNSURE": (150, 110, 0),
    "NG": (196, 70, 0),
    "INVALID": (122, 92, 138),
}  # they differ with any colour vision


def colour(values: np.ndarray) -> np.ndarray:
    """Colours of values 0 to `SCALE_TOP`: (h, w) -> (h, w, 3) uint8."""
    place = np.clip(values / SCALE_TOP, 0, 1) * (len(_STOPS) - 1)
    low = np.minimum(place.astype(np.int64), len(_STOPS) - 2)
    part = (place - low)[..., None]
    return np.round(_STOPS[low] * (1 - part) + _STOPS[low + 1] * part).astype(np.uint8)


def overlay(image: ImageLike, result: Inspection) -> Image.Image:
    """The image, and beside or below it the image in grey with the map over it and the limit's outline.

    Parameters
    ----------
    image : path, PIL image or ndarray
        The image that `result` is of.
    result : Inspection
        With a map.

    Returns
    -------
    PIL.Image.Image
        RGB. The colours mean the same for every image: see the scale at its right.
    """
    picture = as_rgb(image, result)
    low, high = _LONG_SIDE_PX
    factor = min(max(low / max(picture.size), 1.0), high / max(picture.size))
    w, h = (max(1, round(side * factor)) for side in picture.size)
    picture = picture.resize((w, h), Image.Resampling.BILINEAR)
    heated = heat(picture, result)

    stacked = w > 1.6 * h
    panels = (w, 2 * h + _MARGIN) if stacked else (2 * w + _MARGIN, h)
    body = max(panels[1], 140)  # a scale shorter than that cannot be read
    width = max(panels[0] + 2 * _MARGIN + _BAR, 420)
    canvas = Image.new("RGB", (width, body + _HEADER + _MARGIN), _PAPER)
    canvas.paste(picture, (_MARGIN, _HEADER))
    canvas.paste(heated, (_MARGIN, _HEADER + h + _MARGIN) if stacked else (2 * _MARGIN + w, _HEADER))
    _draw_header(canvas, result)
    _draw_scale(canvas, panels[0] + 2 * _MARGIN, _HEADER, body)
    return canvas


def as_rgb(image: ImageLike, result: Inspection) -> Image.Image:
    """The image that `result` is of as 8-bit RGB, to be looked at."""
    bands = read(image, result.path, result.value_range)
    return Image.merge("RGB", [b.convert("L") for b in bands]) if len(bands) == 3 else bands[0].convert("RGB")


def heat(picture: Image.Image, result: Inspection) -> Image.Image:
    """An RGB image, of any size, in grey with the map of `result` over it and an outline around each region."""
    values = result.map_at(*picture.size)
    grey = np.asarray(picture.convert("L").convert("RGB"), np.float32)
    weight = np.clip((values - _FAINT_FROM) / (1 - _FAINT_FROM), 0, 1)[..., None] * 0.7
    blended = Image.fromarray((grey * (1 - weight) + colour(values) * weight).astype(np.uint8))
    above = Image.fromarray(np.where(result.mask_at(*picture.size), np.uint8(255), np.uint8(0)))
    near, far = above.filter(ImageFilter.MaxFilter(3)), above.filter(ImageFilter.MaxFilter(5))
    inner = Image.fromarray(np.asarray(near) - np.asarray(above))
    outer = Image.fromarray(np.asarray(far) - np.asarray(near))
    blended.paste((255, 255, 255), mask=inner)  # white beside black shows on any ground
    blended.paste((0, 0, 0), mask=outer)
    return blended


def _draw_header(canvas: Image.Image, result: Inspection) -> None:
    draw = ImageDraw.Draw(canvas)
    width = 52 if len(result.verdict) == 2 else 86
    draw.rounded_rectangle((_MARGIN, 9, _MARGIN + width, 35), 5, fill=TAG[result.verdict])
    draw.text((_MARGIN + width / 2, 22), result.verdict, font=ImageFont.load_default(17), fill="white", anchor="mm")
    text = f"score {result.score:.2f}   limit 1.00"
    font = ImageFont.load_default(17)
    draw.text((_MARGIN + width + 12, 22), text, font=font, fill=_INK, anchor="lm")
    left = _MARGIN + width + 12 + draw.textlength(text, font=font) + 18
    _draw_fitting(draw, (left, 22), result.path.replace("\\", "/"), canvas.width - _MARGIN - left)


def _draw_fitting(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, width: float) -> None:
    """Draw as much of the end of a path as there is room for."""
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
    canvas.paste(Image.fromarray(colour(values)), (left, top))
    for value, label in ((0.0, "0"), (0.5, "0.5"), (1.0, "1 limit"), (1.5, "1.5"), (SCALE_TOP, "2+")):
        y = top + round((height - 1) * (1 - value / SCALE_TOP))
        at_limit = value == 1.0
        draw.line((left if at_limit else left + 14, y, left + 22, y), fill=_INK, width=2 if at_limit else 1)
        draw.text((left + 26, y), label, font=ImageFont.load_default(13), fill=_INK, anchor="lm")
