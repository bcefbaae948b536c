"""The choice between two settings by how well they separate synthetic defects from held-out normal images."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cfa_lite import CFA, load
from cfa_lite.features.feature_maps import LevelKey
from cfa_lite.inference.levels import Level
from cfa_lite.inference.scorer import Scorer
from cfa_lite.report import text
from cfa_lite.training import separation
from cfa_lite.training.held_out import HeldOutImages
from cfa_lite.training.training_set import TrainingSet


def auroc(good, defects):
    return roc_auc_score([0] * len(good) + [1] * len(defects), [*good, *defects])


def test_the_gain_is_the_difference_of_two_areas(rng):
    good, defects = rng.normal(size=40), rng.normal(1, 1, 60)
    new_good, new_defects = good + rng.normal(0, 0.5, 40), defects + rng.normal(0.3, 0.5, 60)
    defects[:5] = good[:5]  # ties
    found = separation.compare(good, defects, new_good, new_defects)
    assert found.gain == pytest.approx(auroc(new_good, new_defects) - auroc(good, defects))
    assert found.kept == (found.gain > 0)
    back = separation.compare(new_good, new_defects, good, defects)
    assert back.gain == pytest.approx(-found.gain) and back.gain_error == pytest.approx(found.gain_error)


def test_the_error_is_that_of_repeated_draws():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        good, defects = rng.normal(size=50), rng.normal(0.8, 1, 60)
        new = good + rng.normal(0, 0.7, 50), defects + rng.normal(0, 0.7, 60)
        found.append(separation.compare(good, defects, *new))
    spread = np.std([one.gain for one in found])
    assert np.mean([one.gain_error for one in found]) == pytest.approx(spread, rel=0.15)


def test_equal_settings_gain_nothing_and_the_simpler_one_stays(rng):
    good, defects = rng.normal(size=20), rng.normal(size=20)
    found = separation.compare(good, defects, good, defects)
    assert (found.kept, found.gain, found.gain_error) == (False, 0.0, 0.0)


def bump(center, height):
    y, x = np.mgrid[:16, :16]
    return height * np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / 4)


@pytest.mark.parametrize("aligned", [True, False])
def test_position_means_are_kept_where_parts_lie_still(aligned):
    """Distance maps of a rough part: always in one place with defects beside it, or anywhere with defects on it."""
    rng = np.random.default_rng(1)
    key = LevelKey(1, 0, True)
    level = Level(key, *(np.zeros((1, 1), np.float32),) * 3, 1.0, 1.0)
    scorer = Scorer((level,), scale=1.0, background_share=0.25, map_smoothing=2 / 224)
    places = [np.array([5.0, 5.0]) if aligned else rng.normal(8, 3, 2).clip(2, 13) for _ in range(40)]
    normal = [(1 + bump(place, 3) + rng.normal(0, 0.2, (16, 16))).astype(np.float32) for place in places]
    spots = [rng.uniform(9, 15, 2) if aligned else place for place in places]
    defective = [(n + bump(spot, 2.6 if aligned else 0.5)).astype(np.float32) for n, spot in zip(normal, spots)]
    images = TrainingSet([], [], [], [(64, 64)] * 40, [], [], [], [], 1.0, ())
    held_out = HeldOutImages(images, [{key: n} for n in normal], 1, lambda *a: None)
    defects = separation.DefectScores(list(range(40)), [{key: d} for d in defective], held_out)
    means = held_out.position_means(scorer)
    scores = held_out.scores(scorer), held_out.scores(scorer, means)
    found = defects.check_position_means(scorer, means, *scores)
    assert found.kept == aligned
    assert abs(found.gain) > found.gain_error > 0
    few = separation.DefectScores(defects.image_of[:15], defects.distances[:15], held_out)
    assert few.check_position_means(scorer, means, *scores) is None


def test_the_decision_is_told_and_kept_in_the_file(model, tmp_path):
    decision = model.info()["training"]["position_mean"]
    is_clear = decision["gain"] > decision["gain_error"]
    assert decision["kept"] == is_clear == (model.fitted_.scorer.position_mean is not None)
    line = text.info_lines(model.info())["position means"]
    assert line.startswith("used." if decision["kept"] else "not used.")
    model.save(tmp_path / "part.cfa")
    assert load(tmp_path / "part.cfa").info()["training"]["position_mean"] == decision


def test_too_few_defects_decide_nothing(small_images):
    """Recipe "whitened" paints none, and has no position means."""
    model = CFA("whitened", n_centers=8, threads=1).fit(small_images)
    assert model.info()["training"]["position_mean"] is None
    assert "position means" not in text.info_lines(model.info())
