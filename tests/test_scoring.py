import naive
import numpy as np
import pytest
from scipy import ndimage

from cfa_lite import scoring


@pytest.mark.parametrize("grids", [[(4, 6)], [(8, 12), (4, 6), (4, 6)], [(1, 1), (8, 3)], [(32, 48)]])
def test_mean_map_is_bilinear_and_gaussian(rng, grids):
    size = (32, 48)
    maps = [rng.random(grid).astype(np.float32) for grid in grids]
    expected = np.mean([naive.bilinear(m, size) for m in maps], axis=0)
    expected = ndimage.gaussian_filter(expected, scoring.SMOOTHING_SHARE * 32, mode="reflect", truncate=4)
    np.testing.assert_allclose(scoring.mean_map(maps, size), expected, rtol=1e-5)


def test_a_constant_stays_constant():
    np.testing.assert_allclose(scoring.mean_map([np.full((2, 3), 2.5, np.float32)], (64, 96)), 2.5, rtol=1e-6)


def test_background_is_the_pictures_own_median():
    score_map = np.full((16, 16), 4, np.float32)
    score_map[:2, :2] = 10
    removed = scoring.remove_background(score_map, 0.25)
    assert removed[0, 0] == 9
    assert removed[8, 8] == 3
    np.testing.assert_array_equal(scoring.remove_background(score_map, 0), score_map)
