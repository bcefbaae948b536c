import naive
import numpy as np
import pytest

from cfa_lite.method import memory_bank
from cfa_lite.method.kmeans import _means, cluster_sums, kmeans, seeds
from cfa_lite.method.neighbors import nearest


def inertia(points, centers):
    return nearest(points, centers)[1].sum(dtype=np.float64)


def test_one_iteration_agrees_with_loops(rng):
    """So few points have no warm-up, only seeds and one Lloyd step."""
    points = rng.standard_normal((60, 5)).astype(np.float32)
    result = kmeans(points, 7, np.random.default_rng(3), max_iterations=1)
    twin = np.random.default_rng(3)
    shuffled = points[twin.permutation(60)]
    expected = naive.lloyd_step(shuffled, naive.kmeans_plus_plus(shuffled, 7, twin))
    np.testing.assert_allclose(result.centers, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(inertia(points, result.centers), naive.nearest(points, expected)[1].sum(), rtol=1e-5)


def test_separated_groups_are_found(rng):
    corners = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])  # in the order of lexsort
    points = (corners[rng.integers(0, 4, 4000)] + rng.normal(0, 0.1, (4000, 2))).astype(np.float32)
    centers = kmeans(points, 4, rng, max_iterations=20).centers
    np.testing.assert_allclose(centers[np.lexsort(centers.round().T)], corners, atol=0.02)


def test_inertia_is_within_two_percent_of_scikit_learn(rng):
    cluster = pytest.importorskip("sklearn.cluster")
    points = (rng.standard_normal((6000, 12)) @ rng.standard_normal((12, 12))).astype(np.float32)
    ours = kmeans(points, 50, rng, max_iterations=100, tolerance=1e-4)
    theirs = cluster.KMeans(50, n_init=1, random_state=0).fit(points).inertia_
    assert inertia(points, ours.centers) < 1.02 * theirs


def test_seeds_are_different_points_if_there_are_enough(rng):
    points = rng.standard_normal((40, 3)).astype(np.float32)
    chosen = seeds(points, 40, rng)
    np.testing.assert_array_equal(np.unique(chosen, axis=0), np.unique(points, axis=0))


def test_empty_cluster_moves_to_the_farthest_point():
    points = np.array([[0, 0], [0.1, 0], [9, 9]], np.float32)
    labels, distance_sq = np.zeros(3, np.int32), np.array([0, 0.01, 162], np.float32)
    centers = _means(points, labels, distance_sq, 2)
    np.testing.assert_array_equal(centers[1], points[2])


def test_fewer_different_points_than_clusters(rng):
    points = np.repeat(rng.standard_normal((3, 4)).astype(np.float32), 10, axis=0)
    result = kmeans(points, 8, rng, max_iterations=5)
    assert result.centers.shape == (8, 4)
    assert inertia(points, result.centers) == pytest.approx(0, abs=1e-4)
    assert np.isfinite(result.centers).all()


@pytest.mark.parametrize("n_clusters", [1, 12])
def test_smallest_and_largest_number_of_clusters(rng, n_clusters):
    points = rng.standard_normal((12, 3)).astype(np.float32)
    result = kmeans(points, n_clusters, rng, max_iterations=10)
    expected = points.mean(0, keepdims=True) if n_clusters == 1 else points
    order = [np.lexsort(np.round(a, 3).T) for a in (result.centers, expected)]
    np.testing.assert_allclose(result.centers[order[0]], expected[order[1]], atol=1e-5)


def test_same_seed_same_centers_on_any_number_of_threads(rng):
    points = rng.standard_normal((9000, 16)).astype(np.float32)
    one, two = (kmeans(points, 32, np.random.default_rng(5), 4, n_threads=n).centers for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, kmeans(points, 32, np.random.default_rng(6), 4).centers)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"n_clusters": 0}, "n_clusters=0 for 10 points: give 1 to 10"),
        ({"n_clusters": 11}, "n_clusters=11"),
        ({"points": np.full((10, 2), np.nan, np.float32)}, "finite"),
        ({"points": np.zeros(10, np.float32)}, r"shape \(10,\)"),
        ({"max_iterations": 0}, "max_iterations=0"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
    ],
)
def test_wrong_arguments_are_named(rng, change, words):
    arguments = {"points": np.zeros((10, 2), np.float32), "n_clusters": 2, "rng": rng} | change
    with pytest.raises(ValueError, match=words):
        kmeans(**arguments)


def test_position_mean_is_the_mean_over_images(rng):
    images = rng.standard_normal((5, 12, 4)).astype(np.float32)
    found = memory_bank.position_mean(iter(images))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, images.astype(np.float64).mean(0), rtol=1e-6)


def test_centers_follow_their_nearest_descriptor(rng):
    centers, descriptors = (rng.standard_normal((n, 4)).astype(np.float32) for n in (6, 30))
    index, _ = naive.nearest(centers, descriptors)
    found = memory_bank.follow(centers, descriptors, 0.25)
    np.testing.assert_allclose(found, 0.75 * centers + 0.25 * descriptors[index], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(memory_bank.follow(centers, descriptors, 0), centers)


def test_centers_follow_the_mean_of_their_members(rng):
    centers, descriptors = (rng.standard_normal((n, 4)).astype(np.float32) for n in (4, 30))
    members = rng.integers(0, 3, 30).astype(np.int32)  # the last center has no members
    found = memory_bank.follow_members(centers, descriptors, members, 0.25)
    for j in range(3):
        expected = 0.75 * centers[j] + 0.25 * descriptors[members == j].mean(0)
        np.testing.assert_allclose(found[j], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[3], centers[3])
    assert cluster_sums(descriptors, members, 4)[1].tolist() == np.bincount(members, minlength=4).tolist()
