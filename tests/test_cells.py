import naive
import numpy as np
import pytest

from cfa_lite.method import cells, kmeans, neighbors


def bank(rng, n_centers, d):
    """Centers in clusters of unequal size, as those of real images are."""
    clusters = rng.standard_normal((20, d)) * 4
    of_cluster = clusters[rng.integers(0, 20, n_centers) ** 2 // 20]
    return (of_cluster + rng.standard_normal((n_centers, d))).astype(np.float32)


@pytest.mark.parametrize("n, n_centers, d, k", [(1, 1, 1, 1), (3, 40, 5, 2), (129, 300, 24, 6), (130, 600, 7, 1)])
def test_search_in_cells_agrees_with_loops(rng, n, n_centers, d, k):
    centers = bank(rng, n_centers, d)
    points = (centers[rng.integers(0, n_centers, n)] + rng.standard_normal((n, d))).astype(np.float32)
    middles = centers[:: max(1, n_centers // 10)].copy()
    index, distance_sq = cells.nearest_k(points, cells.make(centers, middles), k)
    expected_index, expected_sq = naive.nearest_k_in_cells(points.astype(float), centers.astype(float), middles, k)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(distance_sq, expected_sq, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("n, n_centers, d", [(1, 1, 1), (140, 30, 8), (1030, 64, 24)])
def test_cells_that_list_every_center_give_the_exact_distances(rng, n, n_centers, d):
    assert n_centers <= cells.N_LISTED
    centers, weight = bank(rng, n_centers, d), rng.standard_normal((d, d)).astype(np.float32)
    patches = rng.standard_normal((d, n)).astype(np.float32)
    middles = centers[:5].copy()
    found = cells.distances(patches, neighbors.folded(weight, middles)[0], cells.make(centers, middles))
    exact = neighbors.distances(patches, *neighbors.folded(weight, centers))
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-3)


def test_distances_in_cells_are_hardly_larger_than_the_exact_ones(rng):
    centers, d = bank(rng, 1024, 24), 24
    points = centers[rng.integers(0, 1024, 4000)] + rng.standard_normal((4000, d)).astype(np.float32)
    middles, identity = kmeans.middles(centers), np.eye(24, dtype=np.float32)
    assert middles is not None and middles.shape == (64, 24)
    found = cells.distances(points.T.copy(), neighbors.folded(identity, middles)[0], cells.make(centers, middles))
    exact = neighbors.distances(points.T.copy(), *neighbors.folded(identity, centers))
    excess = found / exact - 1
    assert excess.min() > -1e-3
    assert excess.mean() < 0.06
    assert np.mean(excess > 1e-3) < 0.4


def test_a_bank_of_few_centers_has_no_cells_and_middles_are_always_the_same(rng):
    centers = bank(rng, 300, 6)
    assert kmeans.middles(centers[:256]) is None
    np.testing.assert_array_equal(kmeans.middles(centers), kmeans.middles(centers.copy()))


def test_nan_in_a_point_stays_nan_and_affects_only_this_point(rng):
    centers = bank(rng, 300, 6)
    points = centers[:20].copy()
    made = cells.make(centers, kmeans.middles(centers))
    clean = cells.nearest_k(points, made, 2)[1]
    points[3, 2] = np.nan
    dirty = cells.nearest_k(points, made, 2)[1]
    assert np.isnan(dirty[3]).all()
    np.testing.assert_array_equal(np.delete(dirty, 3, axis=0), np.delete(clean, 3, axis=0))
    matrix = neighbors.folded(np.eye(6, dtype=np.float32), made.middles)[0]
    assert np.isnan(cells.distances(points.T.copy(), matrix, made)).tolist() == [i == 3 for i in range(20)]


def test_search_in_cells_is_bit_equal_on_any_number_of_threads(rng):
    centers = bank(rng, 400, 24)
    points, made = bank(rng, 3000, 24), cells.make(centers, kmeans.middles(centers))
    for one, many in zip(cells.nearest_k(points, made, 6), cells.nearest_k(points, made, 6, 3)):
        np.testing.assert_array_equal(one, many)
