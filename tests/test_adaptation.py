from dataclasses import replace

import numpy as np
import pytest

from cfa_lite import CFA, load
from cfa_lite.features.feature_maps import LevelKey
from cfa_lite.inference.levels import Level
from cfa_lite.inference.scorer import Scorer
from cfa_lite.method import kmeans, memory_bank, whitening
from cfa_lite.training import adaptation, extraction, separation, settings
from cfa_lite.training.held_out import HeldOutImages
from cfa_lite.training.training_set import TrainingSet


@pytest.fixture
def patches(rng):
    """Five clouds that are narrow in some directions, so that training has an effect."""
    middles = rng.normal(0, 3, (5, 12))
    rows = middles[rng.integers(5, size=4000)] + rng.normal(0, 1, (4000, 12)) * np.linspace(0.2, 2, 12)
    return rows.astype(np.float32)


def start_level(patches, rng, n_centers=20):
    mean, weight = whitening.shrunk_whitening(patches, 0.1)
    centers = kmeans.kmeans(whitening.describe(patches, mean, weight), n_centers, rng).centers
    return Level(LevelKey(1, 0, True), mean, weight, centers, 1.0)


def test_training_lowers_the_loss_at_a_constant_determinant_within_the_drift(patches, rng):
    start = start_level(patches, rng)
    trained = adaptation.train(start, patches, rng)
    assert trained.last_loss < trained.first_loss
    change = np.linalg.solve(start.weight.astype(np.float64), trained.level.weight.astype(np.float64))
    assert abs(np.linalg.slogdet(change)[1]) < 1e-4
    moved = np.linalg.norm(change - np.eye(12)) / np.sqrt(12)
    assert moved == pytest.approx(trained.drift, rel=1e-3)
    assert 0.3 * adaptation.DRIFT < trained.drift <= adaptation.DRIFT * 1.01
    assert not np.array_equal(trained.level.centers, start.centers)
    np.testing.assert_array_equal(trained.level.mean, start.mean)


def test_same_seed_gives_the_same_level(patches):
    first, again = (
        adaptation.train(start_level(patches, np.random.default_rng(0)), patches, np.random.default_rng(1))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.level.weight, again.level.weight)
    np.testing.assert_array_equal(first.level.centers, again.level.centers)


def test_bank_with_fewer_centers_than_k_plus_j_is_not_trained(patches, rng):
    start = start_level(patches, rng, n_centers=5)
    trained = adaptation.train(start, patches, rng)
    assert trained.level is start and trained.drift == 0


@pytest.mark.parametrize("n_different", [1, 8])
def test_few_different_patches_give_no_nan(n_different, rng):
    rows = np.repeat(rng.normal(size=(n_different, 6)), 400 // n_different, axis=0).astype(np.float32)
    level = adaptation.train(start_level(rows, rng, n_centers=8), rows, rng).level
    assert np.isfinite(level.weight).all() and np.isfinite(level.centers).all()


def test_step_has_the_given_length_and_keeps_the_determinant(rng):
    change, gradient = np.eye(6) + rng.normal(0, 0.02, (6, 6)), rng.normal(size=(6, 6))
    change /= np.exp(np.linalg.slogdet(change)[1] / 6)
    moved = adaptation._moved(change, gradient, 0.01)
    assert np.linalg.slogdet(moved)[1] == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(moved - change) == pytest.approx(0.01, rel=1e-2)
    assert np.sum((moved - change) * gradient) < 0
    assert adaptation._moved(change, np.zeros((6, 6)), 0.01) is change


def test_centers_move_towards_the_mean_of_their_members():
    centers = np.array([[0, 0], [10, 0], [5, 5]], np.float32)
    descriptors = np.array([[2, 0], [4, 0], [10, 8]], np.float32)
    moved = memory_bank.follow_members(centers, descriptors, np.array([0, 0, 1], np.int32), 0.25)
    np.testing.assert_allclose(moved, [[0.75, 0], [10, 2], [5, 5]])


def test_defective_patches_are_the_covered_ones_and_at_least_one():
    mask = np.zeros((32, 32), bool)
    mask[0:8, 0:12] = True  # one and a half cells of a grid of 8 pixels
    np.testing.assert_array_equal(np.flatnonzero(adaptation.defective_patches(mask, (4, 4))), [0, 1])
    mask[:] = False
    mask[17, 17] = True
    np.testing.assert_array_equal(np.flatnonzero(adaptation.defective_patches(mask, (4, 4))), [10])


def test_rareness_counts_good_patches_in_powers_of_ten():
    good = np.arange(999, dtype=np.float32)
    np.testing.assert_allclose(adaptation.rareness(np.array([2000.0, 990.0, -1.0]), good), [3, 2, 0])


def test_level_keeps_its_training_only_if_synthetic_defects_become_rarer(good, monkeypatch):
    untrained = replace(settings.Ingredients(), trained=False)
    with monkeypatch.context() as patched:
        patched.setattr(settings, "Ingredients", lambda **given: untrained)
        start = CFA(n_centers=32, threads=2).fit(good[:8])
    blind = lambda level, patches, rng: adaptation.Trained(  # noqa: E731
        replace(level, weight=level.weight * 0, centers=level.centers * 0), 1.0, 0.0, 1.0
    )
    monkeypatch.setattr(adaptation, "train", blind)
    monkeypatch.setattr(separation, "compare", lambda *scores: separation.Decision(True, 1.0, 0.0))
    refused = CFA(n_centers=32, threads=2).fit(good[:8])
    assert [move["kept"] for move in refused.fitted_.training["decisions"]] == [False] * 6
    assert all(move["gain"] < 0 for move in refused.fitted_.training["decisions"])
    for ours, theirs in zip(refused.levels_, start.levels_):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
    assert refused.threshold_ == start.threshold_


def test_training_decisions_are_reported_and_saved(model, tmp_path):
    moves = model.info()["training"]["decisions"]
    assert [(m["divisor"], m["output"]) for m in moves] == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert all(m["kept"] == (m["gain"] > 0) for m in moves) and any(m["kept"] for m in moves)
    assert all(m["last_loss"] < m["first_loss"] and 0 < m["drift"] <= 0.101 for m in moves)
    model.save(tmp_path / "a.cfa")
    assert load(tmp_path / "a.cfa").info()["training"]["decisions"] == moves


def test_weights_of_pooled_levels_sum_to_one_and_favor_a_low_spread(model):
    weights = {level.key: level.score_weight for level in model.levels_}
    assert sum(weights.values()) == pytest.approx(1)
    assert all((weight > 0) == key.pooled for key, weight in weights.items())
    assert max(weights.values()) > 1.05 * 1 / 6


def test_position_means_exist_for_recipe_adapted_only_and_sum_to_zero(good, monkeypatch):
    monkeypatch.setattr(separation, "compare", lambda *scores: separation.Decision(True, 1.0, 0.0))
    fitted = CFA(n_centers=32, threads=2).fit(good[:6])
    mean = fitted.fitted_.scorer.position_mean
    assert mean.ndim == 2 and np.abs(mean).max() > 0
    assert abs(mean.mean()) < 1e-6
    plain = CFA("whitened", n_centers=32, threads=2).fit(good[:6])
    assert plain.fitted_.scorer.position_mean is None and plain.fitted_.training["decisions"] == []
    assert {level.score_weight for level in plain.levels_ if level.key.pooled} == {1 / 6}


def test_held_out_score_uses_position_means_without_its_own_image(rng):
    levels = [Level(LevelKey(1, 0, p), *(np.zeros((1, 1), np.float32),) * 3, 1.0, float(p)) for p in (True, False)]
    maps = rng.random((4, 16, 16)).astype(np.float32)
    maps[0, :8, :8] += 10
    distances = [{level.key: m for level in levels} for m in maps]
    plain = Scorer(tuple(levels), scale=1.0, background_share=0.25, map_smoothing=2 / 224)

    def run(which):
        images = TrainingSet([], [], [], [(64, 64)] * len(which), [], [], [], [], 1.0, ())
        held_out = HeldOutImages(images, [distances[i] for i in which], 1, lambda *a: None)
        means = held_out.position_means(plain)
        scorer = replace(plain, position_mean=means.of_all())
        return scorer, held_out.scores(plain, means), held_out.map_peaks(scorer)

    complete, scores, peaks = run([0, 1, 2, 3])
    without, _, _ = run([1, 2, 3])
    assert plain.position_mean is None
    assert scores[0] == pytest.approx(without.combined(distances[0], (64, 64)).max(), rel=1e-6)
    assert peaks[0] == without.map_peak(distances[0], (64, 64))
    assert scores[0] > complete.combined(distances[0], (64, 64)).max() + 0.1


def test_without_any_synthetic_defect_no_level_is_trained(good, tmp_path):
    """There are more images than synthetic defects, and those with a defect cannot be read."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    n_given = 10 * extraction.N_DEFECTS
    given = [broken] * n_given
    for place in (0, 1, 2):  # the first synthetic defect is on the tenth image
        given[place] = good[place]
    model = CFA(n_centers=16, threads=2).fit(given)
    assert model.fitted_.training["n_images"] == 3 and model.fitted_.training["decisions"] == []
    assert model.inspect(good[0]).verdict in ("OK", "NG")
