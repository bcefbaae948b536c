"""A model that an earlier version wrote is read, and scores as it did then."""

import numpy as np
import pytest
from make_golden import DATA, images

from cfa_lite import CFA, load


@pytest.fixture
def golden():
    return load(DATA / "golden.cfa", threads=1)  # its backbone lies beside it


def test_it_scores_as_it_did(golden):
    result = golden.inspect(images(9)[8])
    assert result.raw_score == pytest.approx(1.029725432395935, rel=1e-5)
    assert result.score == pytest.approx(0.670820951461792, rel=1e-5)
    assert result.verdict == "OK"


def test_it_tells_what_it_told(golden):
    facts = golden.info()
    assert (facts["params"]["mm_per_pixel"], facts["params"]["size"]) == (0.1, 96)
    assert (golden.limits_.source, golden.limits_.n_images, golden.limits_.n_groups) == ("by hand", 8, 8)
    assert [entry["source"] for entry in golden.history_] == ["fit"]
    assert golden.area_.share == pytest.approx(52 / 72)


def test_this_version_still_learns_the_same(golden, tmp_path):
    """Change this only with a reason that CHANGELOG.md gives: models fitted again will score differently."""
    mask = np.ones((60, 72), bool)
    mask[:, :20] = False
    again = CFA(backbone=DATA / "golden.onnx", n_centers=8, size=96, mask=mask, threads=2).fit(images(8))
    np.testing.assert_allclose(again.good_scores_, golden.good_scores_, rtol=1e-4)
