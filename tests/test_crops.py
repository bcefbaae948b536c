"""Crops of the report page, and the outlines in them and in overlays."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cfa_lite.method import regions as regions_
from cfa_lite.report import crops
from cfa_lite.report.cards import MAX_REGIONS, card_html, draw_card
from cfa_lite.report.overlay import RenderedImage, draw_outlines, draw_overlay
from cfa_lite.results import Inspection


def inspected(score_map, image_size_px):
    """An NG result with the regions of a map."""
    shown, found = regions_.find(score_map.astype(np.float32), image_size_px)
    score = float(score_map.max())
    return Inspection(
        "a.png", "ok", "NG", score, score, 1.0, 0.0, regions=found, map=shown, image_size_px=image_size_px
    )


def bumps(shape, *places, peak=4.0, sigma=2.0):
    y, x = np.indices(shape)
    return sum(peak * np.exp(-((y - r) ** 2 + (x - c) ** 2) / (2 * sigma**2)) for r, c in places)


def opened(crop):
    return Image.open(io.BytesIO(base64.b64decode(crop.url.split(",")[1])))


@pytest.mark.parametrize("size", [(256, 4096), (3648, 5472), (300, 300), (64, 64), (33, 700)])
def test_crops_show_their_regions(size, rng):
    """Each crop lies in the image, shows the peak and has whole margins where the image has them."""
    score_map = bumps((64, 96), (10, 20), (40, 70), (62, 2))
    found = inspected(score_map, size).regions
    assert len(found) == 3
    h, w = size
    for region in found:
        left, top, width, height = crops.window(region, (w, h))
        assert left >= 0 and top >= 0 and left + width <= w and top + height <= h
        assert min(w, 96) <= width <= crops.LONGEST_PX and min(h, 96) <= height <= crops.LONGEST_PX
        x, y = region.peak_px
        assert left <= x < left + width and top <= y < top + height
        for start, extent, begin, length, side in zip(
            region.box_px[:2], region.box_px[2:], (left, top), (width, height), (w, h)
        ):
            if extent + 2 * max(16, round(extent / 4)) <= crops.LONGEST_PX:
                assert start >= begin and start + extent <= begin + length
                assert begin == 0 or start - begin >= 15
                assert begin + length == side or begin + length - start - extent >= 15


def test_crop_of_a_wide_region_shows_its_core_and_then_its_peak():
    wide = bumps((100, 100), (50, 50), sigma=8)
    (region,) = inspected(wide, (2000, 2000)).regions
    assert region.box_px[2] > crops.LONGEST_PX > region.core_box_px[2] * 1.5
    left, _, width, _ = crops.window(region, (2000, 2000))
    assert width >= region.core_box_px[2] * 1.49 and left + width / 2 == pytest.approx(1010, abs=12)
    (region,) = inspected(wide, (8000, 8000)).regions
    assert crops.window(region, (8000, 8000)) == (region.peak_px[0] - 240, region.peak_px[1] - 240, 480, 480)


@pytest.mark.parametrize("factor, size", [(1, 480), (4, 64)])
def test_pixels_of_a_crop_are_those_of_the_image(factor, size):
    """Inside the core nothing is drawn, at full resolution; small crops are enlarged."""
    y, x = np.mgrid[:size, :size]
    values = np.stack([x * 255 // size, y * 255 // size, (x + y) * 127 // size], axis=2).astype(np.uint8)
    score_map = np.zeros((32, 32))
    score_map[8:24, 8:24] = 3
    result = inspected(score_map, (size, size))
    (crop,) = crops.draw_crops(Image.fromarray(values), result.regions, 5)
    left, top, width, height = crop.box_px
    assert crop.enlarged == factor
    picture = opened(crop)
    assert picture.size == (width * factor, height * factor)
    shown = np.asarray(picture, np.float32)
    expected = np.asarray(
        Image.fromarray(values).crop((left, top, left + width, top + height)).resize(picture.size), np.float32
    )
    a, b = ((at - left) * factor for at in (size // 4, size * 3 // 4))  # the core in the picture, which is square
    inside = slice(a + 4, b - 4)
    assert np.abs(shown[inside, inside] - expected[inside, inside]).mean() < 4
    assert shown[a - 1, inside].mean() > 200 and shown[inside, b].mean() > 200  # white beside the core
    assert shown[a - 2, inside].mean() < 60 and shown[inside, b + 1].mean() < 60  # and black beside that


def test_outlines_are_outside_of_what_they_enclose():
    picture = Image.new("RGB", (60, 50), (90, 90, 90))
    whole, core = np.zeros((50, 60), bool), np.zeros((50, 60), bool)
    whole[10:40, 10:50] = True
    core[20:30, 20:40] = True
    draw_outlines(picture, whole, core)
    drawn = np.asarray(picture)
    assert (drawn[core] == 90).all()
    assert (drawn[19, 19:41] == 255).all() and (drawn[18, 18:42] == 0).all()
    line = drawn[9, 9:51, 0]
    assert set(line) == {0, 255} and 15 < (line == 0).sum() < 27  # dashed
    changed = (drawn != 90).any(axis=2)
    assert changed.sum() == 2 * (42 + 30) + 2 * (22 + 10) + 2 * (24 + 12)


def test_pictures_of_noise_keep_the_bounds(rng):
    """JPEG cannot compress noise; the page has the same bound, and a card's crops share theirs."""
    noise = Image.fromarray(rng.integers(0, 256, (1400, 1400, 3), dtype=np.uint8))
    places = [(20, 20), (20, 80), (80, 20), (80, 80), (50, 50), (50, 90), (90, 50)]
    result = inspected(bumps((100, 100), *places, sigma=6), (1400, 1400))
    drawn = crops.draw_crops(noise, result.regions, MAX_REGIONS)
    sizes = [len(base64.b64decode(crop.url.split(",")[1])) for crop in drawn]
    assert len(sizes) == MAX_REGIONS and sum(sizes) <= crops.BYTES_PER_CARD and min(sizes) > 4000
    assert len(crops.jpeg(noise, 9000)) <= 9000
    assert Image.open(io.BytesIO(crops.jpeg(noise, 9000))).width < 1400


def test_card_has_a_crop_of_each_listed_region():
    places = [(r, c) for r in (10, 30, 50) for c in (10, 40, 70)]
    result = inspected(bumps((64, 96), *places), (640, 960))
    image = np.full((640, 960, 3), 120, np.uint8)
    text = card_html(draw_card(0, RenderedImage(image, result), ""))
    figures = re.findall(
        r'<figure><img src="[^"]+" width=(\d+) height=(\d+) loading=lazy alt="Region (\d) of a.png">', text
    )
    assert [int(number) for _, _, number in figures] == list(range(1, MAX_REGIONS + 1))
    assert "9 regions above the limit" in text and "and 4 more" in text
    invalid = replace(result, status="invalid", verdict="INVALID")
    assert "<figure>" not in card_html(draw_card(0, RenderedImage(image, invalid), ""))
    fine = replace(result, verdict="OK", regions=(), map=np.zeros((64, 96), np.float32))
    assert "<figure>" not in card_html(draw_card(0, RenderedImage(image, fine), ""))


def test_overlay_explains_both_outlines_if_there_is_a_region():
    image, score_map = np.full((100, 300, 3), 120, np.uint8), bumps((50, 150), (25, 75))
    result = inspected(score_map, (100, 300))
    fine = replace(result, map=np.minimum(result.map, 1), regions=(), verdict="OK")
    with_key, without = (draw_overlay(RenderedImage(image, one)) for one in (result, fine))
    assert with_key.height > without.height and with_key.width == without.width
    key = np.asarray(with_key)[-28:]
    assert (key < 60).any() and (key == 255).any()
