"""Outliers among the good images are found, excluded from the memory bank, and named."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cfa_lite import CFA, load
from cfa_lite.commands.main import main
from cfa_lite.method import limits
from cfa_lite.training.settings import Promise


def test_outliers_are_beyond_three_interquartile_ranges():
    scores = np.concatenate([np.linspace(1, 2, 41), [4.2, 5.0]])
    low, high = np.quantile(scores, (0.25, 0.75))
    assert 4.2 > high + 3 * (high - low) > 2
    np.testing.assert_array_equal(np.flatnonzero(limits.find_outliers(scores)), [41, 42])
    scores[41] = high + 2.9 * (high - low)
    np.testing.assert_array_equal(np.flatnonzero(limits.find_outliers(scores)), [42])


def test_at_most_a_tenth_are_outliers_and_none_of_few_or_equal_scores():
    scores = np.concatenate([np.linspace(1, 1.1, 24), [5, 7, 6, 8, 9.0]])
    np.testing.assert_array_equal(np.flatnonzero(limits.find_outliers(scores)), [27, 28])
    assert not limits.find_outliers(np.array([1.0] * 18 + [50])).any()
    assert not limits.find_outliers(np.full(30, 2.0)).any()


def test_images_that_do_not_count_leave_the_limits_but_the_promise_is_for_all(rng):
    scores, groups = np.concatenate([rng.uniform(1, 2, 190), np.linspace(8, 9, 10)]), np.arange(200)
    promise, counted = Promise(), np.arange(200) < 190
    without, made = promise.limits(scores[:190], groups[:190]), promise.limits(scores, groups, counted)
    assert promise.limits(scores, groups).threshold > 8 > 2 > made.threshold == without.threshold
    assert made.unsure_threshold == without.unsure_threshold
    assert made.promised_rate == pytest.approx((np.sum(scores > made.threshold) + 1) / 201) and made.n_images == 200
    assert made.promised_unsure_rate == pytest.approx((np.sum(scores > made.unsure_threshold) + 1) / 201)
    assert promise.limits(scores, groups, np.ones(200, bool)) == promise.limits(scores, groups)


@pytest.fixture(scope="module")
def dirty(good, line, tmp_path_factory):
    """Twenty good images of cloth and a badly stained one."""
    folder = tmp_path_factory.mktemp("dirty")
    images = [np.asarray(Image.open(p)) for p in good] * 2
    for i, image in enumerate(images[:20]):
        Image.fromarray(image[:: 1 if i < len(good) else -1, :256]).save(folder / f"{i:02d}.png")
    stained = images[0][:, :256].copy()
    stained[80:180, 60:200] = 255 - stained[80:180, 60:200]
    Image.fromarray(stained).save(folder / "stained.png")
    return folder


def test_defective_image_among_good_ones_is_named_and_not_learned(dirty, tmp_path):
    part = tmp_path / "part.cfa"
    done = CliRunner().invoke(main, ["fit", str(dirty), "-o", str(part), "--n-centers", "32"])
    assert done.exit_code == 0, done.output
    assert "99 would be enough." in done.output
    told = next(line for line in done.output.splitlines() if "not count towards" in line)
    model = load(part)
    cost = model.fitted_.training["not_counted"]
    assert told.startswith("1 good image is an outlier and does not count towards the limits, with this score: stained")
    assert f"The limit is raw score {model.threshold_:.3g}; it would make it {cost['threshold']:.3g}." in told
    assert "If the part is not good, at most 4.76% of good images are NG; if good, at most 9.09%." in told
    assert model.limits_.promised_rate == pytest.approx(2 / 22) and model.limits_.n_images == 21
    assert cost["threshold"] == pytest.approx(cost["images"][0]["raw_score"])
    assert [entry["name"] for entry in model.fitted_.training["outliers"]] == ["stained.png"]
    assert model.fitted_.training["n_images"] == 20
    assert model.inspect(dirty / "stained.png").verdict == "NG"
    told = CliRunner().invoke(main, ["info", str(part)]).output
    assert "outliers " in told and "stained.png" in told and "1 good image is an outlier" in told
    counted = tmp_path / "counted.cfa"
    done = CliRunner().invoke(main, ["fit", str(dirty), "-o", str(counted), "--n-centers", "32", "--outliers", "count"])
    assert "stained.png (score 1.00) is an outlier and was not learned. It counts towards the limits." in done.output
    assert "not count towards" not in done.output
    assert load(counted).inspect(dirty / "stained.png").score == pytest.approx(1, rel=1e-5)


def test_outlier_counts_towards_the_limit_unless_it_is_dropped(dirty):
    auto, count, drop, keep = (CFA(n_centers=32, outliers=how).fit(dirty) for how in ("auto", "count", "drop", "keep"))
    assert auto.threshold_ == drop.threshold_ < count.threshold_
    assert auto.limits_.n_images == 21
    assert count.limits_.n_images == keep.limits_.n_images == 21
    assert drop.limits_.n_images == 20
    assert count.most_unusual_[0].path.endswith("stained.png") and len(count.most_unusual_) == 21
    assert drop.inspect(dirty / "stained.png").verdict == "NG"
    assert count.threshold_ > 1.5 * drop.threshold_
    assert keep.fitted_.training["n_images"] == 21 and keep.fitted_.training["outliers"] == []
    for one, other in zip(count.levels_, drop.levels_):
        np.testing.assert_array_equal(one.centers, other.centers)
    clean = CFA(n_centers=32).fit(sorted(dirty.glob("[0-9]*.png")))
    assert drop.threshold_ == pytest.approx(clean.threshold_, rel=0.2)
