"""One image on the report page: itself, its map, and what was found; and the small words that the page shares."""

from __future__ import annotations

import base64
import html
import io
import math
from dataclasses import dataclass, replace

from PIL import Image

from ..errors import ImageError
from ..evaluation.ground_truth import GOOD
from ..features.images import ImageLike
from ..results import Inspection, Region
from . import overlay

MAX_REGIONS = 5  # that a card lists
_LONG_SIDE_PX = 320
_IMAGE_BYTES = 16_384  # a full page of woven cloth has 14 MB; fine texture gets a lower quality for it


@dataclass(frozen=True)
class Card:
    """An image to be shown: `images` are data addresses of the image and of its map over it."""

    place: int
    result: Inspection
    kind: str
    pictures: tuple[str, ...]
    size_px: tuple[int, int]  # width, height
    problem: str


def mistake_of(verdict: str, kind: str) -> str:
    """The name of the mistake if there is one: a defect that is not NG, or a good image that is."""
    if kind and kind != GOOD and verdict in ("OK", "UNSURE"):
        return "missed"
    return "false-alarm" if kind == GOOD and verdict == "NG" else ""


def card_markup(card: Card) -> str:
    """An image beside its map, with what was found."""
    result, (w, h) = card.result, card.size_px
    mistake = mistake_of(result.verdict, card.kind).replace("-", " ").upper()
    name = escaped(result.path)
    alts = (f"Image {name}", f"Score map over {name}")
    shape = " wide" if w > 1.6 * h else " tall" if h > 1.6 * w else ""
    images = "".join(
        f'<img src="{source}" width={w} height={h} loading=lazy alt="{alt}">'
        for source, alt in zip(card.pictures, alts)
    )
    lines = [_region(region) for region in result.regions[:MAX_REGIONS]]
    if len(result.regions) > MAX_REGIONS:
        lines.append(f"<li>and {len(result.regions) - MAX_REGIONS} more")
    n = len(result.regions)
    return (
        f"<article class='card {result.verdict}' {known_as(result.verdict, card.kind)}><header>"
        f"<span class='tag {result.verdict}'>{result.verdict}</span><b>score {number(result.score, 2)}</b>"
        f"<span class=soft>percentile {number(result.percentile, 1)}</span>"
        + (f"<span>really: <bdi>{escaped(card.kind)}</bdi></span>" if card.kind else "")
        + (f"<span class=note>{mistake}</span>" if mistake else "")
        + f"</header><div class=name><bdi>{name}</bdi></div>"
        + (f"<div class='pair{shape}'>{images}</div>" if images else f"<p>No image: {escaped(card.problem)}</p>")
        + (f"<p class=note>{escaped(result.message)}</p>" if result.message else "")
        + (f"<p>{n} region{'s' * (n > 1)} above the limit</p><ul>{''.join(lines)}</ul>" if lines else "")
        + "</article>\n"
    )


def _region(region: Region) -> str:
    left, top, w, h = region.box_px
    square = "" if region.area_mm2 is None else f" = {region.area_mm2:.3g} mm²"
    return f"<li>{w} × {h} px at x {left}, y {top}; area {region.area_px:.0f} px{square}; peak {region.peak:.2f}"


def known_as(verdict: str, kind: str) -> str:
    """What the filter knows of an image."""
    mistake = mistake_of(verdict, kind)
    return f"data-is='{verdict} {mistake}'" if mistake else f"data-is={verdict}"


def share(n: int, total: int) -> str:
    return f"{100 * n / total:.1f}&nbsp;%" if total else "-"


def number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def escaped(text: str) -> str:
    """Escaped, for between tags and in quotes; file names may hold bytes that are no text."""
    return html.escape(text.encode("utf-8", "replace").decode())


def draw_card(place: int, image: ImageLike, result: Inspection, kind: str) -> Card:
    kept = replace(result, map=None)
    try:
        picture = overlay.as_rgb(image, result)
    except ImageError as error:
        return Card(place, kept, kind, (), (1, 1), str(error))
    factor = min(1.0, _LONG_SIDE_PX / max(picture.size))
    w, h = (max(1, round(side * factor)) for side in picture.size)
    picture = picture.resize((w, h), Image.Resampling.BILINEAR)
    pictures = [picture] if result.map is None else [picture, overlay.heat(picture, result)]
    return Card(place, kept, kind, tuple(map(_data_address, pictures)), (w, h), "")


def _data_address(picture: Image.Image) -> str:
    for quality in (80, 65, 50, 35):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        if file.tell() <= _IMAGE_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
