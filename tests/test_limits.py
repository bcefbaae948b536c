"""Limits: the guaranteed rates hold."""

from dataclasses import replace

import numpy as np
import pytest

from cfa_lite.method import limits, score_shift


@pytest.mark.parametrize("n", [10, 20, 50, 200])
@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_guaranteed_rate_holds_for_exchangeable_scores(n, rate):
    """2,000 draws of n good scores and a new one. The n + 1 scores are exchangeable, so the new one is above the k-th
    lowest of the others with a probability of 1 - k / (n + 1), for any distribution."""
    rng = np.random.default_rng(n)
    scores = np.exp(rng.normal(size=(2000, n + 1)) * 2)  # a heavy tail
    groups = np.arange(n)
    bounds = np.array([limits.bound(draw[:n], groups, rate)[0] for draw in scores])
    promised = limits.bound(scores[0, :n], groups, rate)[1]
    k = min(n, int(np.ceil((n + 1) * (1 - rate) - 1e-9)))
    assert promised == pytest.approx(max(rate, 1 / (n + 1)))
    exact = 1 - k / (n + 1)
    assert exact <= promised + 1e-12
    found = np.mean(scores[:, n] > bounds)
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / 2000)
    np.testing.assert_array_equal(bounds, np.sort(scores[:, :n], axis=1)[:, k - 1])


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_guaranteed_rate_holds_for_groups_of_near_duplicates(rate):
    """Similar scores in a group, groups of very different sizes, a new image of a new group. Limits from independent
    images would guarantee too low a rate, which the same test shows."""
    rng = np.random.default_rng(3)
    sizes = np.array([1] * 10 + [3] * 10 + [60])
    alone, grouped = [], []
    for _ in range(2000):
        own = rng.permutation(sizes)
        groups = np.repeat(np.arange(len(own)), own)
        scores = rng.normal(size=len(own))[groups] + 0.01 * rng.normal(size=len(groups))
        new = rng.normal() + 0.01 * rng.normal()
        limit, promised = limits.bound(scores, groups, rate)
        assert promised == pytest.approx(max(rate, 1 / 22))
        grouped.append(new > limit)
        alone.append(new > limits.bound(scores, np.arange(len(scores)), rate)[0])
    error = 3 * np.sqrt(rate * (1 - rate) / 2000)
    assert np.mean(grouped) < promised + error
    assert np.mean(alone) > rate + error


def test_bound_by_hand():
    scores = np.array([5.0, 1, 4, 2, 3, 9, 8, 7, 6])  # 9 scores and a new one: each has a weight of one tenth
    assert limits.bound(scores, np.arange(9), 0.1) == (9, pytest.approx(0.1))
    assert limits.bound(scores, np.arange(9), 0.3) == (7, pytest.approx(0.3))
    assert limits.bound(scores, np.arange(9), 0.01) == (9, pytest.approx(0.1))
    assert limits.rate_above(6.5, scores, np.arange(9)) == pytest.approx(0.4)
    # Three groups: {5, 1}, {4}, {2}, a quarter each, 1 and 5 an eighth.
    few, groups = np.array([5.0, 1, 4, 2]), np.array([0, 0, 1, 2])
    assert limits.bound(few, groups, 0.25) == (5, pytest.approx(0.25))
    assert limits.bound(few, groups, 0.375) == (4, pytest.approx(0.375))
    assert limits.rate_above(4, few, groups) == pytest.approx(0.375)


def test_limits_and_verdicts():
    scores = np.arange(1.0, 100)  # 99: the 99th of 100 and the 95th
    found = limits.make_limits(scores, np.arange(99), 0.01, 0.05, margin=0.1, source="fit")
    assert (found.threshold, found.unsure_threshold) == pytest.approx((99 * 1.1, 95 * 1.1))
    assert (found.promised_rate, found.promised_unsure_rate, found.n_groups) == pytest.approx((0.01, 0.05, 99))
    lower = found.unsure_threshold / found.threshold
    verdicts = [limits.verdict(raw / found.threshold, lower) for raw in (104.4, 104.6, 108.8, 109)]
    assert verdicts == ["OK", "UNSURE", "UNSURE", "NG"]
    few = limits.make_limits(scores[:9], np.arange(9), 0.01, 0.05, margin=0, source="fit")
    assert few.threshold == few.unsure_threshold == 9  # too few images to distinguish the two rates
    assert few.promised_rate == few.promised_unsure_rate == pytest.approx(0.1)


@pytest.mark.parametrize("n, rank", [(99, 95), (59, 57), (58, 56), (40, 38), (20, 18), (19, 19), (8, 8)])
def test_unsure_starts_at_the_third_highest_score_of_few_images(n, rank):
    scores, groups = np.arange(1.0, n + 1), np.arange(n)
    found = limits.make_limits(scores, groups, 0.01, None, margin=0, source="fit")
    assert (found.threshold, found.unsure_threshold) == (n, rank)
    assert found.promised_unsure_rate == pytest.approx(max(0.05, (n + 1 - rank) / (n + 1)))
    asked = limits.make_limits(scores, groups, 0.01, 0.05, margin=0, source="fit")
    assert asked.promised_unsure_rate <= max(0.05, 1 / (n + 1))  # a rate that the user names is kept
    wide = limits.make_limits(scores, groups, 0.2, None, margin=0, source="fit")
    assert wide.threshold == wide.unsure_threshold


def test_the_promise_of_unsure_holds_with_few_images(rng):
    above = []
    for _ in range(4000):
        *scores, new = rng.standard_normal(26)
        found = limits.make_limits(np.array(scores), np.arange(25), 0.01, None, margin=0, source="fit")
        above.append(new > found.unsure_threshold)
    assert abs(np.mean(above) - 3 / 26) < 4 * np.sqrt(3 / 26 / 4000)


def test_limits_set_by_hand_state_their_guaranteed_rates():
    scores, groups = np.arange(1.0, 100), np.arange(99)
    found = limits.make_limits(scores, groups, 0.01, 0.05, margin=0, source="fit")
    lower = limits.scaled(found, 0.5, scores, groups)
    assert (lower.threshold, lower.source) == (49.5, "by hand")
    assert lower.promised_rate == pytest.approx(0.51)
    assert limits.scaled(lower, 2, scores, groups) == replace(found, source="by hand",
                                                                    promised_rate=pytest.approx(0.01),
                                                               promised_unsure_rate=pytest.approx(0.05))  # fmt: skip


def test_percentile():
    assert limits.percentile(2.5, np.array([1, 2, 3, 4.0])) == 50
    assert limits.percentile(4, np.array([1, 2, 3, 4.0])) == 100


def test_groups_are_not_split_and_folds_have_similar_sizes(rng):
    groups = np.repeat(np.arange(20), rng.integers(1, 6, 20))
    fold_of = limits.folds(groups, rng)
    assert all(len(set(fold_of[groups == group])) == 1 for group in range(20))
    sizes = np.bincount(fold_of)
    assert len(sizes) == limits.N_FOLDS
    assert np.ptp(sizes) <= 5
    single = limits.folds(np.arange(30), rng)
    assert sorted(np.bincount(single)) == [7, 7, 8, 8]
    burst = limits.folds(np.zeros(10, int), rng)  # a single group is divided
    assert sorted(np.bincount(burst)) == [2, 2, 3, 3]


def test_shift_is_distinguished_from_defects(rng):
    good = rng.normal(1, 0.1, 200)
    batch = rng.normal(1, 0.1, 100)
    assert not score_shift.has_shifted(batch, good)
    half_defective = np.concatenate([batch[:50], rng.normal(3, 1, 50)])
    assert not score_shift.has_shifted(half_defective, good)
    assert score_shift.has_shifted(batch + 0.3, good)
    assert not score_shift.has_shifted(batch[:19] + 0.3, good)  # too few images for a decision


def test_false_shift_warnings_have_a_rate_of_at_most_2_percent():
    rng = np.random.default_rng(0)
    n = score_shift.MIN_FOR_SHIFT
    good = np.linspace(0, 1, 1001)
    wrong = [score_shift.has_shifted(np.append(rng.random(n - n // 2), [9.0] * (n // 2)), good) for _ in range(2000)]
    assert 0 < np.mean(wrong) < 0.03
