"""A model file of an earlier version is read and gives the same scores."""

import numpy as np
import pytest
from make_golden import DATA, images

from cfa_lite import CFA, load


@pytest.fixture
def golden():
    return load(DATA / "golden.cfa", threads=1)  # its backbone is in the same folder


def test_golden_model_gives_its_recorded_scores(golden):
    result = golden.inspect(images(9)[8])
    assert result.raw_score == pytest.approx(1.0599381923675537, rel=1e-5)
    assert result.score == pytest.approx(0.6660873293876648, rel=1e-5)
    assert result.verdict == "OK"


def test_golden_model_gives_its_recorded_info(golden):
    facts = golden.info()
    assert (facts["params"]["mm_per_pixel"], facts["params"]["size"]) == (0.1, 96)
    assert (golden.limits_.source, golden.limits_.n_images, golden.limits_.n_groups) == ("by hand", 8, 8)
    assert [entry["source"] for entry in golden.fitted_.history] == ["fit"]
    assert golden.fitted_.scorer.mask.share == pytest.approx(52 / 72)


def test_fit_gives_the_recorded_scores(golden, tmp_path):
    """Change this only with a reason that CHANGELOG.md gives: models fitted again will score differently."""
    mask = np.ones((60, 72), bool)
    mask[:, :20] = False
    again = CFA(backbone=DATA / "golden.onnx", n_centers=8, size=96, mask=mask, threads=2).fit(images(8))
    np.testing.assert_allclose(again.good_scores_, golden.good_scores_, rtol=1e-4)
