"""Forward and backward of the coupled-hypersphere loss against loops and central differences, in float64."""

import naive
import numpy as np
import pytest

from cfa_lite.method import hypersphere_loss, memory_bank, neighbors
from cfa_lite.method.hypersphere_loss import LossSettings
from cfa_lite.published import certainty, coordinates
from cfa_lite.published.coordinates import CoordLinear

STEP = 1e-6


def hypersphere(descriptors, centers, radius, settings, n_patches):
    nearest = neighbors.nearest_k(descriptors, centers, settings.n_neighbors + settings.n_hard_negatives)
    return hypersphere_loss.coupled_hypersphere(descriptors, centers, nearest, radius, settings, n_patches)


@pytest.fixture
def pooled(rng):
    return [rng.standard_normal(shape) for shape in ((3, 6, 8), (4, 3, 4), (2, 2, 2))]


@pytest.fixture
def layer(rng):
    return CoordLinear(rng.standard_normal((5, 11)) * 0.5, rng.standard_normal(5))


@pytest.fixture
def centers(rng, pooled, layer):
    return coordinates.describe(pooled, layer) + 0.2 * rng.standard_normal((48, 5))


def loss_of(pooled, layer, centers, radius, settings):
    phi = coordinates.describe(pooled, layer)
    terms = hypersphere(phi, centers, radius, settings, len(phi))
    return terms.attraction + terms.repulsion, terms, coordinates.gradient(pooled, terms.of_descriptors)


def central_difference(function, array):
    """Compute the gradient of a scalar function of an array, which is changed in place."""
    out = np.empty_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        array[place] = kept + STEP
        high = function()
        array[place] = kept - STEP
        out[place] = (high - function()) / (2 * STEP)
        array[place] = kept
    return out


def test_describe_agrees_with_resizing_first(pooled, layer):
    np.testing.assert_allclose(
        coordinates.describe(pooled, layer), naive.describe(pooled, layer.weight, layer.bias), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("n, m, k", [(1, 1, 1), (7, 6, 6), (30, 130, 6), (300, 70, 3), (5, 4200, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_k_agrees_with_loops(rng, n, m, k, dtype):
    points, centers = (rng.standard_normal((size, 3)).astype(dtype) for size in (n, m))
    index, distance_sq = neighbors.nearest_k(points, centers, k)
    expected_index, expected_sq = naive.nearest_k(points.astype(np.float64), centers.astype(np.float64), k)
    np.testing.assert_allclose(distance_sq, expected_sq, rtol=1e-4 if dtype == np.float32 else 1e-9, atol=1e-5)
    if dtype == np.float64:
        np.testing.assert_array_equal(index, expected_index)


def test_nearest_k_takes_the_first_of_equal_centers_on_any_number_of_threads(rng):
    centers = np.repeat(rng.standard_normal((5, 4)).astype(np.float32), 3, axis=0)
    index, _ = neighbors.nearest_k(centers[::3] * np.float32(1), centers, 3)
    np.testing.assert_array_equal(index, np.arange(15).reshape(5, 3))
    points = rng.standard_normal((900, 4)).astype(np.float32)
    for one, two in zip(neighbors.nearest_k(points, centers, 4), neighbors.nearest_k(points, centers, 4, 2)):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "radius, margin, active",
    [(1.2, 0.02, (True, True)), (1e-5, 0.1, (True, False)), (9.0, 0.1, (False, True)), (0.0, 0.1, (True, False))],
)
def test_loss_agrees_with_loops_and_gradient_with_central_differences(pooled, layer, centers, radius, margin, active):
    settings = LossSettings(margin=margin)
    loss, terms, gradient = loss_of(pooled, layer, centers, radius, settings)
    phi = coordinates.describe(pooled, layer)
    np.testing.assert_allclose(
        (terms.attraction, terms.repulsion), naive.coupled_hypersphere_loss(phi, centers, radius, 3, 3, margin, 1e-3)
    )
    assert (terms.active[0] > 0, terms.active[1] > 0) == active
    check_gradients(pooled, layer, centers, radius, settings, terms, gradient, loss)


def check_gradients(pooled, layer, centers, radius, settings, terms, gradient, loss):
    r = np.array([radius])

    def value():
        return loss_of(pooled, layer, centers, float(r[0]), settings)[0]

    scale = max(1.0, loss)
    np.testing.assert_allclose(gradient.weight, central_difference(value, layer.weight), rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(gradient.bias, central_difference(value, layer.bias), rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(terms.of_radius, central_difference(value, r)[0], rtol=1e-6, atol=1e-6 * scale)


def test_gradient_with_both_terms_inactive_is_zero(pooled, layer, centers):
    """The radius deactivates the attraction, and the margin deactivates the repulsion."""
    settings = LossSettings(margin=1e4)
    loss, terms, gradient = loss_of(pooled, layer, centers, 20.0, settings)
    assert loss == 0
    assert terms.of_radius == 0
    np.testing.assert_array_equal(gradient.weight, 0)
    check_gradients(pooled, layer, centers, 20.0, settings, terms, gradient, loss)


def test_gradient_with_equidistant_centers(pooled, layer, centers):
    """Every center exists three times, so the K-th and the next one are equal. Their order must have no effect."""
    thrice = np.repeat(centers[::3], 6, axis=0)
    settings = LossSettings(n_neighbors=2, n_hard_negatives=3, margin=0.01)
    loss, terms, gradient = loss_of(pooled, layer, thrice, 1.1, settings)
    check_gradients(pooled, layer, thrice, 1.1, settings, terms, gradient, loss)


def test_term_of_exactly_zero_counts_half():
    """This agrees with a central difference at the kink."""
    descriptors, centers = np.array([[2.0, 0.0]]), np.array([[0.0, 0.0], [5.0, 0.0]])
    settings = LossSettings(n_neighbors=1, n_hard_negatives=1, margin=0, nu=1)
    terms = hypersphere(descriptors, centers, 2.0, settings, 1)
    r = np.array([2.0])
    value = central_difference(lambda: sum_of(hypersphere(descriptors, centers, r[0], settings, 1)), r)
    np.testing.assert_allclose(terms.of_radius, value[0], rtol=1e-6)
    by_descriptor = central_difference(lambda: sum_of(hypersphere(descriptors, centers, 2.0, settings, 1)), descriptors)
    np.testing.assert_allclose(terms.of_descriptors, by_descriptor, rtol=1e-6, atol=1e-6)
    assert terms.active == (0.5, 0)


def sum_of(terms):
    return terms.attraction + terms.repulsion


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_patches_and_equal_centers_give_no_nan(dtype):
    descriptors = np.full((20, 4), 3.7, dtype)
    terms = hypersphere(descriptors, descriptors[:9].copy(), 1e-5, LossSettings(), 20)
    assert np.isfinite(terms.of_descriptors).all()
    assert np.isfinite([terms.attraction, terms.repulsion, terms.of_radius]).all()
    _, distance_sq = neighbors.nearest_k(descriptors, descriptors[:9].copy(), 3)
    np.testing.assert_allclose(certainty.certainty_score(distance_sq), 0, atol=1e-2)


def test_certainty_is_softmin_times_the_nearest_distance(rng):
    d = np.sort(rng.random((10, 3)) * 4, axis=1)
    expected = np.exp(-d[:, 0]) / np.exp(-d).sum(axis=1) * d[:, 0]
    np.testing.assert_allclose(certainty.certainty_score(d**2), expected)
    far = np.array([[1e6, 1.001e6, 4e6]], np.float32)
    assert np.isfinite(certainty.certainty_score(far)).all()


def test_centers_follow_their_nearest_descriptors(rng):
    centers, descriptors = (
        rng.standard_normal((6, 3)).astype(np.float32),
        rng.standard_normal((9, 3)).astype(np.float32),
    )
    index, _ = naive.nearest(centers, descriptors)
    np.testing.assert_allclose(
        memory_bank.follow(centers, descriptors, 0.05), 0.95 * centers + 0.05 * descriptors[index], rtol=1e-6
    )
    np.testing.assert_array_equal(memory_bank.follow(centers, descriptors, 0.0), centers)
