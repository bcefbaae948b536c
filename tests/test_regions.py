"""Regions of a map, and the agreement of map, score and verdict."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cfa_lite.method import anomaly_map, regions
from cfa_lite.results import Inspection


def test_regions_by_hand():
    image_map = np.zeros((20, 30), np.float32)
    image_map[2:5, 4:9] = 1.5
    image_map[3, 6] = 2
    image_map[10, 10] = image_map[11, 11] = 3  # touch at a corner: one region
    image_map[15, 20] = 1  # a value equal to the limit is not above it
    same, (first, second) = regions.find(image_map, (40, 90), mm_per_pixel=0.5)
    np.testing.assert_array_equal(same, image_map)
    assert first.box_px == (30, 20, 6, 4)
    assert (first.area_px, first.area_mm2, first.peak, first.mean) == (12, 3, 3, 3)
    assert second.box_px == (12, 4, 15, 6)
    assert (second.area_px, second.area_mm2) == (90, 22.5)
    assert (second.peak, second.peak_px) == (2, (19, 7))
    assert second.mean == pytest.approx((14 * 1.5 + 2) / 15)
    assert second.contour_px == [(12, 4), (27, 4), (27, 10), (12, 10)]
    assert regions.find(np.ones((8, 8), np.float32), (8, 8)).regions == ()
    assert regions.find(image_map, (40, 90)).regions[0].area_mm2 is None


def test_outlines_enclose_their_regions(rng):
    """A filled outline equals its region with closed holes."""
    from scipy import ndimage

    image_map = ndimage.gaussian_filter(rng.normal(size=(60, 80)), 2).astype(np.float32) * 12
    found = regions.find(image_map, (60, 80)).regions
    assert len(found) > 5
    labels, n = ndimage.label(image_map > 1, np.ones((3, 3)))
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


def test_core_by_hand():
    """The cells above two thirds of the region's own peak, in two parts; a region of a low peak is its own core."""
    image_map = np.zeros((20, 30), np.float32)
    image_map[2:8, 4:20] = 1.5
    image_map[3, 6:9], image_map[5:7, 15] = 4.5, 3.25
    image_map[4, 10] = 3  # two thirds of the peak are not above it
    image_map[12:14, 3:6] = 1.45
    image_map[12, 3] = 1.499
    first, second = regions.find(image_map, (40, 90), mm_per_pixel=0.5).regions
    assert first.box_px == (12, 4, 48, 12)
    assert (first.core_box_px, first.core_area_px, first.core_area_mm2) == ((18, 6, 30, 8), 5 * 6, 5 * 6 / 4)
    assert first.core_contours_px == [
        [(18, 6), (27, 6), (27, 8), (18, 8)],
        [(45, 10), (48, 10), (48, 14), (45, 14)],
    ]
    assert (second.core_box_px, second.core_area_px) == (second.box_px, second.area_px)
    assert second.core_contours_px == [second.contour_px]
    assert regions.find(image_map, (40, 90)).regions[0].core_area_mm2 is None


@pytest.mark.parametrize("size", [(80, 60), (160, 180), (31, 23), (7, 7)])
def test_mask_of_cores_at_any_size(rng, size):
    """It lies in the mask of the regions and has the boxes of the cores; each core has a pixel at every size."""
    from scipy import ndimage

    image_map = ndimage.gaussian_filter(rng.normal(size=(60, 80)), 2).astype(np.float32) * 25
    kept, found = regions.find(image_map, size[::-1], min_area_px=3 * size[0] * size[1] / image_map.size)
    result = Inspection("a.png", "ok", "NG", 2.0, 2.0, 1.0, 0.0, map=kept, regions=found, image_size_px=size[::-1])
    core, mask = result.core_at(*size), result.mask_at(*size)
    assert core.shape == mask.shape == size[::-1] and (core <= mask).all()
    if size[0] >= 80:
        assert 0.1 < core.sum() / mask.sum() < 0.9
        assert core.sum() == pytest.approx(sum(region.core_area_px for region in found))
        in_boxes = np.zeros_like(core)
        for left, top, width, height in (region.core_box_px for region in found):
            in_boxes[top : top + height, left : left + width] = True
        assert (core <= in_boxes).all()
    for region in found:
        assert core[region.peak_px[1], region.peak_px[0]]
    assert not Inspection("a.png", "ok", "OK", 1.0, 1.0, 1.0, 0.0, map=np.ones((6, 8), np.float32)).core_at(*size).any()


def test_small_regions_are_lowered_to_the_limit():
    image_map = np.full((10, 10), 0.5, np.float32)
    image_map[1, 1:4], image_map[6:8, 6:8] = 2, 3
    before = image_map.copy()
    kept, found = regions.find(image_map, (10, 10), min_area_px=4)
    assert [region.area_px for region in found] == [4]
    assert kept[1, 1:4].tolist() == [1, 1, 1]
    assert kept[6:8, 6:8].tolist() == [[3, 3], [3, 3]]
    np.testing.assert_array_equal(kept[image_map < 1], 0.5)
    np.testing.assert_array_equal(image_map, before)
    kept, found = regions.find(image_map, (10, 10), min_area_px=5)
    assert (kept.max(), found) == (1, ())


@pytest.mark.parametrize("image_size_px, n_kept", [((20, 30), 2), ((60, 50), 3)])
def test_min_area_is_in_pixels_of_the_image(image_size_px, n_kept):
    """Regions of 1, 2, and 3 cells of 6 pixels, or of 30 pixels."""
    image_map = np.zeros((10, 10), np.float32)
    image_map[0, 0], image_map[2, 0:2], image_map[4, 0:3] = 2, 3, 4
    found = regions.find(image_map, image_size_px, min_area_px=12).regions
    assert [region.peak for region in found] == [4, 3, 2][:n_kept]
    assert min(region.area_px for region in found) >= 12


def test_scipy_is_not_imported_without_regions(tmp_path):
    code = (
        "import sys, numpy as np; from cfa_lite.method import regions;"
        "regions.find(np.ones((9, 9), np.float32), (9, 9), 4.0); print('scipy.ndimage' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("score", [0.3, 0.99, 1.0, 1.0000001, 1.2, 7.0])
def test_map_scaled_to_a_score_has_it_as_maximum(rng, score):
    image_map = rng.random((16, 24)).astype(np.float32) * 2
    brought = anomaly_map.to_score(image_map, score)
    assert brought.max() == np.float32(score)
    low = np.median(image_map[::4, ::4])
    if score > low:
        np.testing.assert_array_equal(brought[image_map <= low], image_map[image_map <= low])
    order = np.argsort(image_map.ravel())
    assert (np.diff(brought.ravel()[order]) >= -1e-6).all()


def test_constant_map_has_the_score_as_maximum():
    brought = anomaly_map.to_score(np.zeros((4, 4), np.float32), 1.5)
    assert (brought.max(), np.median(brought)) == (1.5, 0)


def test_outside_the_mask_the_map_is_zero(rng):
    image_map, inside = rng.random((8, 8)).astype(np.float32), np.zeros((8, 8), bool)
    inside[:, :4] = True
    image_map[:, 4:] = 50
    brought = anomaly_map.to_score(image_map, 1.5, inside)
    assert brought.max() == np.float32(1.5) and (brought[:, 4:] == 0).all()


@pytest.mark.parametrize("size", [(64, 48), (200, 150), (31, 23), (17, 200)])
def test_region_of_one_pixel_is_visible_at_every_size(size):
    """A map or mask of any size has a region if and only if the verdict is NG."""
    for place in [(0, 0), (23, 31), (10, 5)]:
        image_map = np.zeros((48, 64), np.float32)
        image_map[place] = 1.001
        result = Inspection("a.png", "ok", "NG", 1.001, 1.0, 1.0, 0.0, map=image_map, image_size_px=size[::-1])
        assert (result.full_map() > 1).any()
        np.testing.assert_array_equal(result.full_map() > 1, result.mask_at(*size))
        image_map[place] = 1
        assert not (result.full_map() > 1).any() and not result.mask_at(*size).any()
