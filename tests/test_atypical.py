"""Good pictures that are far out among the others: found, left out, named."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cfa_lite import CFA, decision, load
from cfa_lite.cli import main


def test_far_out_is_beyond_three_interquartile_ranges():
    scores = np.concatenate([np.linspace(1, 2, 41), [4.2, 5.0]])
    low, high = np.quantile(scores, (0.25, 0.75))
    assert 4.2 > high + 3 * (high - low) > 2
    np.testing.assert_array_equal(np.flatnonzero(decision.far_out(scores)), [41, 42])
    scores[41] = high + 2.9 * (high - low)
    np.testing.assert_array_equal(np.flatnonzero(decision.far_out(scores)), [42])


def test_at_most_a_tenth_is_left_out_and_none_of_few_or_of_equal_ones():
    scores = np.concatenate([np.linspace(1, 1.1, 24), [5, 7, 6, 8, 9.0]])
    np.testing.assert_array_equal(np.flatnonzero(decision.far_out(scores)), [27, 28])
    assert not decision.far_out(np.array([1.0] * 18 + [50])).any()
    assert not decision.far_out(np.full(30, 2.0)).any()


@pytest.fixture(scope="module")
def dirty(good, line, tmp_path_factory):
    """Twenty good pictures of cloth and a badly stained one."""
    folder = tmp_path_factory.mktemp("dirty")
    pictures = [np.asarray(Image.open(p)) for p in good] * 2
    for i, picture in enumerate(pictures[:20]):
        Image.fromarray(picture[:: 1 if i < len(good) else -1, :256]).save(folder / f"{i:02d}.png")
    stained = pictures[0][:, :256].copy()
    stained[80:180, 60:200] = 255 - stained[80:180, 60:200]
    Image.fromarray(stained).save(folder / "stained.png")
    return folder


def test_a_defective_picture_among_the_good_ones_is_named_and_left_out(dirty, tmp_path):
    part = tmp_path / "part.cfa"
    done = CliRunner().invoke(main, ["fit", str(dirty), "-o", str(part), "--n-centers", "32"])
    assert done.exit_code == 0, done.output
    assert "with 20 good pictures about 1 in 21 good ones of the line may be above the limit" in done.output
    assert "left out, unlike the other good pictures: stained.png, score" in done.output
    model = load(part)
    assert [entry["name"] for entry in model.training_["atypical"]] == ["stained.png"]
    assert model.training_["n_images"] == 20
    result = model.score_image(dirty / "stained.png")
    assert result.verdict == "NG"
    assert result.score == pytest.approx(model.training_["atypical"][0]["score"], rel=1e-5)
    told = CliRunner().invoke(main, ["info", str(part)]).output
    assert "unlike others" in told and "stained.png" in told
    clean = CFA(n_centers=32).fit(sorted(dirty.glob("[0-9]*.png")))
    assert model.training_["n_images"] == clean.training_["n_images"]
    assert model.threshold_ == pytest.approx(clean.threshold_, rel=0.2)


def test_keep_atypical_keeps_it(dirty):
    model = CFA(n_centers=32, keep_atypical=True).fit(dirty)
    assert model.training_["n_images"] == 21 and "atypical" not in model.training_
    assert model.threshold_ > 1.5 * CFA(n_centers=32).fit(dirty).threshold_
