import naive
import numpy as np
import pytest
from scipy import ndimage

from cfa_lite.method import anomaly_map, resampling


@pytest.mark.parametrize("grids", [[(4, 6)], [(8, 12), (4, 6), (4, 6)], [(1, 1), (8, 3)], [(32, 48)]])
def test_weighted_map_is_bilinear_and_gaussian(rng, grids):
    size = (32, 48)
    maps = [rng.random(grid).astype(np.float32) for grid in grids]
    weights = rng.random(len(grids))
    expected = np.sum([w * naive.bilinear(m, size) for w, m in zip(weights, maps)], axis=0)
    expected = ndimage.gaussian_filter(expected, 0.02 * 32, mode="reflect", truncate=4)
    np.testing.assert_allclose(anomaly_map.weighted_map(maps, weights, size, 0.02), expected, rtol=1e-5)


def test_constant_map_stays_constant():
    constant = np.full((2, 3), 2.5, np.float32)
    np.testing.assert_allclose(anomaly_map.weighted_map([constant], [2], (64, 96), 0.02), 5, rtol=1e-6)


def test_background_is_the_images_own_median():
    image_map = np.full((16, 16), 4, np.float32)
    image_map[:2, :2] = 10
    removed = anomaly_map.remove_background(image_map, 0.25)
    assert removed[0, 0] == 9
    assert removed[8, 8] == 3
    np.testing.assert_array_equal(anomaly_map.remove_background(image_map, 0), image_map)


def test_position_means_are_shrunk_and_subtracted(rng):
    maps = [rng.random((32, 48)).astype(np.float32) for _ in range(3)]
    for m in maps:
        m[:16, :16] += 5
    grid = anomaly_map.position_grid((32, 48))
    assert grid == (4, 6)
    sums = np.sum([resampling.cell_means(m, grid).astype(np.float64) for m in maps], axis=0)
    np.testing.assert_allclose(sums, np.sum(maps, axis=0).reshape(4, 8, 6, 8).mean(axis=(1, 3)), rtol=1e-5)
    mean = anomaly_map.position_mean(sums, 3)
    np.testing.assert_allclose(mean.mean(), 0, atol=1e-6)
    high = sums[:2, :2].mean() / 3 - sums.mean() / 3
    assert mean[:2, :2].mean() == pytest.approx(high * 3 / (3 + anomaly_map.POSITION_PRIOR), rel=1e-5)
    removed = anomaly_map.remove_position_mean(maps[0], mean)
    expected = maps[0] - naive.bilinear(mean, (32, 48))
    np.testing.assert_allclose(removed, expected, rtol=1e-5, atol=1e-6)


def test_image_smaller_than_a_cell_has_one_cell():
    assert anomaly_map.position_grid((4, 200)) == (1, 25)
