"""Regions of a map, and that map, score and verdict agree."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cfa_lite.method import anomaly_map, regions
from cfa_lite.results import Inspection


def test_regions_by_hand():
    score_map = np.zeros((20, 30), np.float32)
    score_map[2:5, 4:9] = 1.5
    score_map[3, 6] = 2
    score_map[10, 10] = score_map[11, 11] = 3  # touch at a corner: one region
    score_map[15, 20] = 1  # on the limit is not above it
    first, second = regions.find(score_map, (40, 90), mm_per_pixel=0.5)
    assert first.box_px == (30, 20, 6, 4)
    assert (first.area_px, first.area_mm2, first.peak, first.mean) == (12, 3, 3, 3)
    assert second.box_px == (12, 4, 15, 6)
    assert (second.area_px, second.area_mm2) == (90, 22.5)
    assert (second.peak, second.peak_px) == (2, (19, 7))
    assert second.mean == pytest.approx((14 * 1.5 + 2) / 15)
    assert second.contour_px == [(12, 4), (27, 4), (27, 10), (12, 10)]
    assert regions.find(np.ones((8, 8), np.float32), (8, 8)) == ()
    assert regions.find(score_map, (40, 90))[0].area_mm2 is None


def test_outlines_enclose_their_regions(rng):
    """Filled, every outline gives back its region with its holes closed."""
    from scipy import ndimage

    score_map = ndimage.gaussian_filter(rng.normal(size=(60, 80)), 2).astype(np.float32) * 12
    found = regions.find(score_map, (60, 80))
    assert len(found) > 5
    labels, n = ndimage.label(score_map > 1, np.ones((3, 3)))
    assert len(found) == n
    for region in found:
        label = labels[region.peak_px[1], region.peak_px[0]]
        scale = 4
        canvas = Image.new("1", (80 * scale, 60 * scale))
        corners = [(x * scale - 0.5, y * scale - 0.5) for x, y in region.contour_px]
        ImageDraw.Draw(canvas).polygon(corners, fill=1)
        filled = np.asarray(canvas)[scale // 2 :: scale, scale // 2 :: scale]
        closed = ndimage.binary_fill_holes(labels == label)
        np.testing.assert_array_equal(filled, closed)
        assert region.area_px == (labels == label).sum()


def test_small_regions_come_down_to_the_limit():
    score_map = np.full((10, 10), 0.5, np.float32)
    score_map[1, 1:4], score_map[6:8, 6:8] = 2, 3
    kept = regions.without_small(score_map, 4)
    assert [region.area_px for region in regions.find(kept, (10, 10))] == [4]
    assert kept[1, 1:4].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(kept[score_map < 1], 0.5)
    assert regions.without_small(score_map, 5).max() == 1


@pytest.mark.parametrize("score", [0.3, 0.99, 1.0, 1.0000001, 1.2, 7.0])
def test_a_map_brought_to_its_score_peaks_there(rng, score):
    score_map = rng.random((16, 24)).astype(np.float32) * 2
    brought = anomaly_map.to_score(score_map, score)
    assert brought.max() == np.float32(score)
    low = np.median(score_map[::4, ::4])
    if score > low:
        np.testing.assert_array_equal(brought[score_map <= low], score_map[score_map <= low])
    order = np.argsort(score_map.ravel())
    assert (np.diff(brought.ravel()[order]) >= -1e-6).all()


def test_a_map_without_relief_peaks_at_the_score_too():
    brought = anomaly_map.to_score(np.zeros((4, 4), np.float32), 1.5)
    assert brought.max() == 1.5 and np.median(brought) == 0


def test_where_nothing_counts_the_map_is_zero(rng):
    score_map, inside = rng.random((8, 8)).astype(np.float32), np.zeros((8, 8), bool)
    inside[:, :4] = True
    score_map[:, 4:] = 50
    brought = anomaly_map.to_score(score_map, 1.5, inside)
    assert brought.max() == np.float32(1.5) and (brought[:, 4:] == 0).all()


@pytest.mark.parametrize("size", [(64, 48), (200, 150), (31, 23), (17, 200)])
def test_a_region_of_one_pixel_is_seen_at_every_size(size):
    """Whatever map or mask is written, a region is in it exactly if the verdict is NG."""
    for place in [(0, 0), (23, 31), (10, 5)]:
        score_map = np.zeros((48, 64), np.float32)
        score_map[place] = 1.001
        result = Inspection("a.png", "ok", "NG", 1.001, 1.0, 1.0, 0.0, map=score_map, image_size_px=size[::-1])
        assert (result.full_map() > 1).any()
        np.testing.assert_array_equal(result.full_map() > 1, result.mask_at(*size))
        score_map[place] = 1
        assert not (result.full_map() > 1).any() and not result.mask_at(*size).any()
