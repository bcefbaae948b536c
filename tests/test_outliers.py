"""Outliers among the good images are found, excluded from the memory bank, and named."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cfa_lite import CFA, load
from cfa_lite.commands.main import main
from cfa_lite.method import limits


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
    assert "21 images are too few to guarantee that at most 1.00% of good images are NG. They" in done.output
    assert "guarantee 4.55%; 99 would be enough." in done.output
    assert "stained.png (score 1.00) is an outlier and was not learned. It counts towards the limits." in done.output
    model = load(part)
    assert [entry["name"] for entry in model.fitted_.training["outliers"]] == ["stained.png"]
    assert model.fitted_.training["n_images"] == 20
    assert model.inspect(dirty / "stained.png").score == pytest.approx(1, rel=1e-5)
    told = CliRunner().invoke(main, ["info", str(part)]).output
    assert "outliers " in told and "stained.png 1.00" in told


def test_outlier_counts_towards_the_limit_unless_it_is_dropped(dirty):
    count, drop, keep = (CFA(n_centers=32, outliers=how).fit(dirty) for how in ("count", "drop", "keep"))
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
