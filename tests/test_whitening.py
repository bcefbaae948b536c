import numpy as np
import pytest

from cfa_lite.method.whitening import describe, shrunk_whitening


def test_covariance_of_descriptors_follows_the_equation(rng):
    """Eigenvalue ev becomes ev / (ev + s * mean(ev)), in float64 from the covariance itself."""
    patches = (rng.standard_normal((5000, 6)) * [5, 3, 1, 0.5, 0.1, 0.01] + 7).astype(np.float32)
    mean, weight = shrunk_whitening(patches, 0.1)
    descriptors = describe(patches, mean, weight).astype(np.float64)
    ev = np.linalg.eigvalsh(np.cov(patches.astype(np.float64).T, bias=True))
    np.testing.assert_allclose(np.cov(descriptors.T, bias=True), np.diag(ev / (ev + 0.1 * ev.mean())), atol=1e-4)
    np.testing.assert_allclose(descriptors.mean(0), 0, atol=1e-4)


def test_memory_order_does_not_matter(rng):
    patches = rng.standard_normal((50, 8)).astype(np.float32)
    mean, weight = shrunk_whitening(patches, 0.3)
    np.testing.assert_allclose(
        describe(np.asfortranarray(patches), mean, weight), describe(patches, mean, weight), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("patches", [np.full((20, 4), 3, np.float32), np.zeros((1, 4), np.float32)])
def test_constant_patches_stay_finite(patches):
    mean, weight = shrunk_whitening(patches, 0.1)
    np.testing.assert_array_equal(describe(patches, mean, weight), 0)
    assert np.isfinite(weight).all()
