"""Cards of the report page: an image, its heat map and its regions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import ImageError
from ..results import Inspection, Region
from .crops import Crop, data_url, draw_crops, jpeg
from .markup import escaped, filter_tags, mistake_of, number
from .overlay import RenderedImage

MAX_REGIONS = 5  # listed on one card
_LONG_SIDE_PX = 320
_IMAGE_BYTES = 16_384  # with base64, the pictures of a full page have at most 33 MB: 20 MB of images, 13 MB of crops


@dataclass(frozen=True)
class Card:
    """An image that the page shows.

    Attributes
    ----------
    place : int
        Position of the image in the batch.
    result : Inspection
        Without its map.
    label : str
        Ground truth: "good", the name of the defect, or "" if unknown.
    images : tuple of str
        The image and its heat map as data URLs. Only the image if it was not scored; empty if it cannot be read.
    size_px : (int, int)
        Width and height of the images.
    problem : str
        Why there is no image.
    crops : tuple of Crop
        The first regions of an image that is NG.
    """

    place: int
    result: Inspection
    label: str
    images: tuple[str, ...]
    size_px: tuple[int, int]
    problem: str = ""
    crops: tuple[Crop, ...] = ()


def draw_card(place: int, rendered: RenderedImage, label: str) -> Card:
    """Make a card. An image that cannot be read gets one that says why.

    Parameters
    ----------
    place : int
    rendered : RenderedImage
    label : str

    Returns
    -------
    Card
    """
    result = replace(rendered.result, map=None)
    try:
        image, heat_map = rendered.panels(1, _LONG_SIDE_PX)
    except ImageError as error:
        return Card(place, result, label, (), (1, 1), str(error))
    shown = [image] if heat_map is None else [image, heat_map]
    urls = tuple(data_url(jpeg(one, _IMAGE_BYTES)) for one in shown)
    crops = draw_crops(rendered.rgb, result.regions, MAX_REGIONS) if result.status == "ok" else ()
    return Card(place, result, label, urls, image.size, crops=crops)


def card_html(card: Card) -> str:
    """Return the HTML of a card."""
    result, (w, h) = card.result, card.size_px
    mistake = mistake_of(result.verdict, card.label).replace("-", " ").upper()
    name = escaped(result.path)
    alts = (f"Image {name}", f"Anomaly map of {name}")
    shape = " wide" if w > 1.6 * h else " tall" if h > 1.6 * w else ""
    images = "".join(
        f'<img src="{url}" width={w} height={h} loading=lazy alt="{alt}">' for url, alt in zip(card.images, alts)
    )
    return (
        f"<article class='card {result.verdict}' {filter_tags(result.verdict, card.label)}><header>"
        f"<span class='tag {result.verdict}'>{result.verdict}</span>{_scores(result)}"
        + (f"<span>ground truth: <bdi>{escaped(card.label)}</bdi></span>" if card.label else "")
        + (f"<span class=note>{mistake}</span>" if mistake else "")
        + f"</header><div class=name><bdi>{name}</bdi></div>"
        + (f"<div class='pair{shape}'>{images}</div>" if images else f"<p>No image: {escaped(card.problem)}</p>")
        + (f"<p class=note>{escaped(result.message)}</p>" if result.message else "")
        + _regions(result.regions)
        + _crops(card.crops, name)
        + "</article>\n"
    )


def _scores(result: Inspection) -> str:
    score, percentile = number(result.score, 2), number(result.percentile, 1)
    if not score:
        return "<b>no score</b>"
    return f"<b>score {score}</b>" + (f"<span class=soft>percentile {percentile}</span>" if percentile else "")


def _regions(regions: tuple[Region, ...]) -> str:
    if not regions:
        return ""
    n = len(regions)
    lines = [_region(region) for region in regions[:MAX_REGIONS]]
    if n > MAX_REGIONS:
        lines.append(f"<li class=more>and {n - MAX_REGIONS} more")
    return f"<p>{n} region{'s' * (n > 1)} above the limit</p><ol>{''.join(lines)}</ol>"


def _region(region: Region) -> str:
    left, top, w, h = region.box_px
    area_mm2 = "" if region.area_mm2 is None else f" = {region.area_mm2:.3g} mm²"
    core = ""
    if 0 < region.core_area_px < region.area_px:
        core = f"; core {region.core_box_px[2]} &times; {region.core_box_px[3]} px, area {region.core_area_px:.0f} px"
    kind = "" if region.kind is None else f"; kind: <bdi>{escaped(region.kind)}</bdi>"
    if region.kind_certainty is not None:
        kind += f" (right for {region.kind_certainty:.0%} of left-out images)"
    return (
        f"<li>{w} &times; {h} px at x {left}, y {top}; area {region.area_px:.0f} px{area_mm2}; peak {region.peak:.2f}"
        f"{core}{kind}"
    )


def _crops(crops: tuple[Crop, ...], name: str) -> str:
    figures = [
        f'<figure><img src="{crop.url}" width={crop.box_px[2] * crop.enlarged} height={crop.box_px[3] * crop.enlarged}'
        f' loading=lazy alt="Region {i} of {name}"><figcaption>{i}: {crop.box_px[2]} &times; {crop.box_px[3]} px'
        f"{f', enlarged {crop.enlarged} times' if crop.enlarged > 1 else ', full resolution'}</figcaption></figure>"
        for i, crop in enumerate(crops, 1)
    ]
    return f"<div class=crops>{''.join(figures)}</div>" if figures else ""
