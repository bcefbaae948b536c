import naive
import numpy as np
import pytest

from cfa_lite.features import images, patches
from cfa_lite.method import _kernels, neighbors


@pytest.mark.parametrize("n, k, d", [(1, 1, 1), (3, 2, 5), (40, 17, 8), (1030, 33, 24), (5, 256, 112)])
def test_nearest_agrees_with_loops(rng, n, k, d):
    points, centers = (rng.standard_normal((m, d)).astype(np.float32) for m in (n, k))
    index, distance_sq = neighbors.nearest(points, centers)
    expected_index, expected_sq = naive.nearest(points, centers)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(distance_sq, expected_sq, rtol=2e-5, atol=2e-5)


def test_nearest_takes_the_first_of_equal_centers_and_is_never_negative(rng):
    centers = np.repeat(rng.standard_normal((1, 6)).astype(np.float32) * 100, 20, axis=0)
    index, distance_sq = neighbors.nearest(centers[:3], centers)
    assert index.tolist() == [0, 0, 0]
    assert distance_sq.min() >= 0
    assert distance_sq.max() <= 1e-6 * (centers[0] ** 2).sum()


def test_nan_in_a_point_affects_only_this_point(rng):
    points, centers = (rng.standard_normal((m, 4)).astype(np.float32) for m in (3, 40))
    clean = neighbors.nearest(points, centers)[1]
    points[1, 2] = np.nan
    dirty = neighbors.nearest(points, centers)[1]
    assert np.isnan(dirty[1])
    np.testing.assert_array_equal(dirty[[0, 2]], clean[[0, 2]])


def test_permuted_centers_give_the_same_distances(rng):
    points, centers = rng.standard_normal((50, 9)).astype(np.float32), rng.standard_normal((30, 9)).astype(np.float32)
    order = rng.permutation(30)
    index, distance_sq = neighbors.nearest(points, centers)
    index_permuted, distance_sq_permuted = neighbors.nearest(points, centers[order])
    np.testing.assert_array_equal(order[index_permuted], index)
    np.testing.assert_allclose(distance_sq_permuted, distance_sq, rtol=1e-6)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_nearest_is_bit_equal_on_any_number_of_threads(rng, n_threads):
    points, centers = (
        rng.standard_normal((3000, 40)).astype(np.float32),
        rng.standard_normal((70, 40)).astype(np.float32),
    )
    for one, many in zip(neighbors.nearest(points, centers), neighbors.nearest(points, centers, n_threads)):
        np.testing.assert_array_equal(one, many)


def test_cluster_sums_agree_with_loops(rng):
    points, labels = rng.standard_normal((200, 7)).astype(np.float32), rng.integers(0, 9, 200).astype(np.int32)
    sums, counts = np.zeros((9, 7)), np.zeros(9, np.int64)
    _kernels.add_to_clusters(points, labels, sums, counts)
    expected_sums, expected_counts = naive.cluster_sums(points.astype(np.float64), labels, 9)
    np.testing.assert_allclose(sums, expected_sums, rtol=1e-12)
    np.testing.assert_array_equal(counts, expected_counts)


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 1, 5), (3, 5, 1), (2, 2, 2), (4, 6, 9)])
def test_pool_agrees_with_loops(rng, shape):
    maps = rng.standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(patches.pool(maps), naive.pool3x3(maps), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n, k, d", [(1, 1, 1), (3, 2, 5), (140, 17, 8), (1030, 33, 24), (129, 256, 112)])
def test_folded_distances_agree_with_describing_and_searching(rng, n, k, d):
    patches_, weight, centers = (rng.standard_normal(shape).astype(np.float32) for shape in ((d, n), (d, d), (k, d)))
    found = neighbors.distances(patches_, *neighbors.folded(weight, centers))
    _, expected_sq = naive.nearest(patches_.T.astype(np.float64) @ weight, centers)
    np.testing.assert_allclose(found, np.sqrt(expected_sq), rtol=1e-4, atol=1e-3)


def test_folded_distances_of_centers_are_zero_and_nan_stays_nan(rng):
    centers = rng.standard_normal((20, 6)).astype(np.float32) * 100
    points = centers.T.copy()
    folded = neighbors.folded(np.eye(6, dtype=np.float32), centers)
    assert neighbors.distances(points, *folded).max() <= 1e-3 * np.abs(centers).max()
    points[2, 3] = np.nan
    found = neighbors.distances(points, *folded)
    assert np.isnan(found).tolist() == [i == 3 for i in range(20)]


@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 4, 6), (3, 10, 8)])
def test_halving_agrees_with_loops(rng, shape):
    planes = rng.random(shape).astype(np.float32) * 255
    np.testing.assert_allclose(images.halve(planes), naive.halve(planes), rtol=1e-5)


@pytest.mark.parametrize("gray", [True, False])
def test_image_statistics_agree_with_numpy(rng, gray):
    pixels = np.repeat(rng.random((1, 33, 47)).astype(np.float32) * 200, 3, axis=0)
    if not gray:
        pixels[2, 32, 46] += 1
    found = np.empty(6)
    _kernels.image_statistics(pixels, found)
    total, down, right, lowest, highest, difference = found
    green = pixels[1].astype(np.float64)
    np.testing.assert_allclose(total, green.sum(), rtol=1e-5)
    np.testing.assert_allclose(down, np.abs(np.diff(green, axis=0)).sum(), rtol=1e-5)
    np.testing.assert_allclose(right, np.abs(np.diff(green, axis=1)).sum(), rtol=1e-5)
    assert (lowest, highest) == (pixels.min(), pixels.max())
    assert (difference == 0) == gray
