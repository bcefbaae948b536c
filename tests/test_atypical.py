"""Good images that are far out among the others: found, left out, named."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cfa_lite import CFA, load
from cfa_lite.commands.main import main
from cfa_lite.method import limits


def test_far_out_is_beyond_three_interquartile_ranges():
    scores = np.concatenate([np.linspace(1, 2, 41), [4.2, 5.0]])
    low, high = np.quantile(scores, (0.25, 0.75))
    assert 4.2 > high + 3 * (high - low) > 2
    np.testing.assert_array_equal(np.flatnonzero(limits.find_outliers(scores)), [41, 42])
    scores[41] = high + 2.9 * (high - low)
    np.testing.assert_array_equal(np.flatnonzero(limits.find_outliers(scores)), [42])


def test_at_most_a_tenth_is_left_out_and_none_of_few_or_of_equal_ones():
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


def test_a_defective_image_among_the_good_ones_is_named_and_left_out(dirty, tmp_path):
    part = tmp_path / "part.cfa"
    done = CliRunner().invoke(main, ["fit", str(dirty), "-o", str(part), "--n-centers", "32"])
    assert done.exit_code == 0, done.output
    assert (
        "with 21 images the smallest rate that can be promised is 4.55%, not 1.00% (false alarms): 99 would do"
        in done.output
    )
    assert (
        "not learnt from, unlike the other good images: stained.png, score 1.00. It counts for the limits"
        in done.output
    )
    model = load(part)
    assert [entry["name"] for entry in model.training_["outliers"]] == ["stained.png"]
    assert model.training_["n_images"] == 20
    assert model.inspect(dirty / "stained.png").score == pytest.approx(1, rel=1e-5)
    told = CliRunner().invoke(main, ["info", str(part)]).output
    assert "not learnt:" in told and "stained.png 1.00" in told


def test_one_left_out_counts_for_the_limit_unless_it_is_dropped(dirty):
    count, drop, keep = (CFA(n_centers=32, outliers=how).fit(dirty) for how in ("count", "drop", "keep"))
    assert count.limits_.n_images == keep.limits_.n_images == 21
    assert drop.limits_.n_images == 20
    assert count.unlike_[0].path.endswith("stained.png") and len(count.unlike_) == 21
    assert drop.inspect(dirty / "stained.png").verdict == "NG"
    assert count.threshold_ > 1.5 * drop.threshold_
    assert keep.training_["n_images"] == 21 and keep.training_["outliers"] == []
    for one, other in zip(count.levels_, drop.levels_):
        np.testing.assert_array_equal(one.centers, other.centers)
    clean = CFA(n_centers=32).fit(sorted(dirty.glob("[0-9]*.png")))
    assert drop.threshold_ == pytest.approx(clean.threshold_, rel=0.2)
