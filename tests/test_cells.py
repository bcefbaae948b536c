import naive
import numpy as np
import pytest

from cfa_lite import CFA, load
from cfa_lite.method import cells, neighbors


def descriptors(rng, n, d):
    """Points in clusters of unequal size and spread, as those of real images are."""
    clusters, spread = rng.standard_normal((30, d)) * 4, rng.uniform(0.3, 2, 30)
    of_point = rng.integers(0, 30, n) ** 2 // 30
    return (clusters[of_point] + spread[of_point, None] * rng.standard_normal((n, d))).astype(np.float32)


@pytest.mark.parametrize("n, n_centers, d, k", [(1, 2, 1, 1), (3, 40, 5, 2), (129, 300, 24, 6), (130, 600, 7, 1)])
def test_search_in_cells_agrees_with_loops(rng, n, n_centers, d, k):
    centers, points = descriptors(rng, n_centers, d), descriptors(rng, n, d)
    n_cells = max(2, n_centers // 16)
    listed = np.array([np.sort(rng.permutation(n_centers)[: n_centers // 2]) for _ in range(n_cells)], np.int32)
    made = cells.Cells(centers[:n_cells].copy(), listed)
    index, distance_sq = cells.nearest_k(points, cells.prepare(centers, made), k)
    expected_index, expected_sq = naive.nearest_k_in_cells(points.astype(float), centers.astype(float), made, k)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(distance_sq, expected_sq, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("n, n_centers, d", [(1, 2, 1), (140, 30, 8), (1030, 64, 24)])
def test_cells_that_list_every_center_give_the_exact_distances(rng, n, n_centers, d):
    centers, weight = descriptors(rng, n_centers, d), rng.standard_normal((d, d)).astype(np.float32)
    patches = rng.standard_normal((d, n)).astype(np.float32)
    made = cells.Cells(centers[:2].copy(), np.tile(np.arange(n_centers, dtype=np.int32), (2, 1)))
    found = cells.distances(patches, neighbors.folded(weight, made.middles)[0], cells.prepare(centers, made))
    exact = neighbors.distances(patches, *neighbors.folded(weight, centers))
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-3)


def test_distances_in_cells_are_hardly_larger_than_the_exact_ones(rng):
    points, new = np.split(descriptors(rng, 24000, 24), [20000])
    centers = points[rng.permutation(20000)[:1024]]
    made = cells.fit(centers, points)
    assert made.middles.shape == (64, 24) and made.listed.shape == (64, cells.N_LISTED)
    matrix = neighbors.folded(np.eye(24, dtype=np.float32), made.middles)[0]
    found = cells.distances(new.T.copy(), matrix, cells.prepare(centers, made))
    exact = neighbors.distances(new.T.copy(), *neighbors.folded(np.eye(24, dtype=np.float32), centers))
    excess = found / exact - 1
    assert excess.min() > -1e-3
    assert excess.mean() < 0.02
    assert excess[exact > np.quantile(exact, 0.98)].mean() < 0.02
    assert np.mean(excess > 1e-3) < 0.2


def test_a_bank_of_few_centers_has_no_cells_and_cells_are_always_the_same(rng):
    points = descriptors(rng, 3000, 6)
    assert cells.fit(points[:256], points) is None
    for one, other in zip(cells.fit(points[:300], points), cells.fit(points[:300].copy(), points.copy())):
        np.testing.assert_array_equal(one, other)


def test_a_center_that_two_cells_list_is_found_once(rng):
    centers = descriptors(rng, 20, 6)
    made = cells.Cells(centers[:2].copy(), np.tile(np.arange(20, dtype=np.int32), (2, 1)))
    index, distance_sq = cells.nearest_k(centers, cells.prepare(centers, made), 20)
    assert (np.sort(index, axis=1) == np.arange(20)).all()
    assert (np.diff(distance_sq, axis=1) >= 0).all()


def test_nan_in_a_point_stays_nan_and_affects_only_this_point(rng):
    centers = descriptors(rng, 300, 6)
    points = centers[:20].copy()
    search = cells.prepare(centers, cells.fit(centers, centers))
    clean = cells.nearest_k(points, search, 2)[1]
    points[3, 2] = np.nan
    dirty = cells.nearest_k(points, search, 2)[1]
    assert np.isnan(dirty[3]).any()
    np.testing.assert_array_equal(np.delete(dirty, 3, axis=0), np.delete(clean, 3, axis=0))
    matrix = neighbors.folded(np.eye(6, dtype=np.float32), search.cells.middles)[0]
    assert np.isnan(cells.distances(points.T.copy(), matrix, search)).tolist() == [i == 3 for i in range(20)]


def test_search_in_cells_is_bit_equal_on_any_number_of_threads(rng):
    centers, points = descriptors(rng, 400, 24), descriptors(rng, 3000, 24)
    search = cells.prepare(centers, cells.fit(centers, points))
    for one, many in zip(cells.nearest_k(points, search, 6), cells.nearest_k(points, search, 6, 3)):
        np.testing.assert_array_equal(one, many)


def test_a_model_with_cells_is_stored_and_scores_the_same(tmp_path, rng):
    good = [rng.integers(0, 255, (96, 96, 3)).astype(np.uint8) for _ in range(24)]
    model = CFA("whitened", n_centers=300, threads=1).fit(good)
    in_cells = [level.cells is not None for level in model.fitted_.scorer.levels]
    assert any(in_cells)
    model.save(tmp_path / "part.cfa")
    again = load(tmp_path / "part.cfa", threads=2)
    assert [level.cells is not None for level in again.fitted_.scorer.levels] == in_cells
    for image in good[:3]:
        np.testing.assert_array_equal(model.inspect(image).map, again.inspect(image).map)
