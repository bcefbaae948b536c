import tempfile

import numpy as np
import pytest

import cfa_lite
from cfa_lite.features.feature_cache import FeatureStore


def test_same_values_in_memory_and_on_disk(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    images = [[rng.random((3, 5, 7)).astype(np.float32), rng.random((2, 2)).astype(np.float32)] for _ in range(4)]
    with FeatureStore(max_mb=0.001) as store:
        kept = [store.keep(p) for p in images]
        assert kept[0][0] is images[0][0]
        assert kept[3][0] is not images[3][0]
        assert kept[3][0].path.stat().st_size == 2 * (105 + 4) * 4
        assert len(list(tmp_path.iterdir())) == 1
        for found, expected in zip(kept, images):
            for a, b in zip(found, expected):
                assert a.shape == b.shape
                np.testing.assert_array_equal(np.asarray(a), b)
                assert np.asarray(a, np.float64).dtype == np.float64
    assert list(tmp_path.iterdir()) == []


def test_error_while_writing_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), FeatureStore(max_mb=0) as store:
        store.keep([np.ones(3)])
        assert len(list(tmp_path.iterdir())) == 1
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "estimator, params", [("CFA", {"recipe": "whitened", "n_centers": 16}), ("PublishedCFA", {"epochs": 1})]
)
def test_model_does_not_depend_on_the_cache(small_images, tmp_path, monkeypatch, estimator, params):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    for name, max_memory in (("much", 1000), ("none", 0)):
        model = getattr(cfa_lite, estimator)(threads=2, max_memory=max_memory, **params).fit(small_images)
        model.save(tmp_path / f"{name}.cfa")
    assert (tmp_path / "much.cfa").read_bytes() == (tmp_path / "none.cfa").read_bytes()
    assert list((tmp_path / "scratch").iterdir()) == []
