import numpy as np
import pytest

from cfa_lite.training import synthetic_defects


@pytest.fixture
def pixels(rng):
    return rng.uniform(60, 180, (3, 96, 128)).astype(np.float32)


@pytest.mark.parametrize("kind", range(len(synthetic_defects._KINDS)))
def test_each_kind_changes_the_image_where_its_mask_says(pixels, kind, monkeypatch):
    monkeypatch.setattr(synthetic_defects, "_KINDS", (synthetic_defects._KINDS[kind],))
    before = pixels.copy()
    painted, mask = synthetic_defects.paint(pixels, np.random.default_rng(3))
    np.testing.assert_array_equal(pixels, before)
    assert painted.shape == pixels.shape and painted.dtype == np.float32
    assert mask.shape == (96, 128) and mask.dtype == bool
    assert painted.min() >= 0 and painted.max() <= 255
    change = np.abs(painted - pixels).sum(axis=0)
    assert mask.any() and not mask.all()
    assert change[mask].mean() > 1
    assert change[mask].sum() > 0.5 * change.sum()  # only the soft edge is outside


def test_same_seed_gives_the_same_defect(pixels):
    first, again, other = (synthetic_defects.paint(pixels, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("shape", [(32, 32), (32, 1024), (96, 32)])
def test_defects_on_images_of_any_shape_and_on_constant_images(shape):
    constant = np.full((3, *shape), 128, np.float32)
    sizes = []
    for seed in range(60):
        painted, mask = synthetic_defects.paint(constant, np.random.default_rng(seed))
        assert np.isfinite(painted).all()
        sizes.append(mask.mean())
    assert 0 < 10 * min(sizes) < max(sizes) < 0.5  # sizes have a wide range
