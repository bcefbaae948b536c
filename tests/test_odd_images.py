"""Odd images among the good ones: what an inspection would call INVALID neither teaches nor counts, and is named."""

import numpy as np
import pytest
from PIL import Image
from test_cli import run

from cfa_lite import CFA, load
from cfa_lite.features import image_checks
from cfa_lite.training import odd_images, provenance
from cfa_lite.training.settings import Promise


def statistics(brightness=100.0, sharpness=10.0, low=0.0, high=255.0, is_gray=False):
    return image_checks.PixelStatistics(brightness, sharpness, low, high, is_gray)


@pytest.mark.parametrize(
    "odd, size, words",
    [
        (statistics(low=128, high=128.5), (96, 64), "shows nothing"),
        (statistics(brightness=30), (96, 64), "far darker"),
        (statistics(brightness=250), (96, 64), "far brighter"),
        (statistics(sharpness=2), (96, 64), "far more blurred"),
        (statistics(is_gray=True), (96, 64), "gray, but the good images are in color"),
        (statistics(), (96, 128), "px, but the good images are"),
        (statistics(), (40, 64), "px, but the good images are"),
    ],
)
@pytest.mark.parametrize("n_odd", [1, 2])
def test_a_few_odd_images_are_found(odd, size, words, n_odd, rng):
    good = [statistics(brightness=b, sharpness=s) for b, s in zip(rng.uniform(80, 120, 44), rng.uniform(8, 12, 44))]
    found = odd_images.find([*[(96, 64)] * 44, *[size] * n_odd], [*good, *[odd] * n_odd])
    assert list(found) == list(range(44, 44 + n_odd))  # two of a kind do not hide each other
    assert all(words in reason for reason in found.values())


def test_variants_of_a_product_are_not_odd(rng):
    """A tenth of dark, small or gray parts are no accident, and a wide spread has no gap."""
    good = [statistics() for _ in range(36)]
    for other, size in (
        (statistics(brightness=20), (96, 64)),
        (statistics(is_gray=True), (96, 64)),
        (good[0], (40, 40)),
    ):
        assert odd_images.find([*[(96, 64)] * 36, *[size] * 4], [*good, *[other] * 4]) == {}
    wide = [statistics(brightness=b) for b in np.geomspace(10, 200, 40)]
    assert odd_images.find([(96, 64)] * 40, wide) == {}
    few = [statistics(), statistics(), statistics(brightness=10)]
    assert odd_images.find([(96, 64)] * 3, few) == {}
    assert odd_images.find([(96, 64)] * 3, [statistics(low=9, high=9)] * 3) == {}  # nothing shows what is normal


@pytest.mark.slow
def test_one_blank_image_changes_nothing_but_the_skipped_ones(small_images, tmp_path, caplog):
    folder = tmp_path / "good"
    folder.mkdir()
    for i, image in enumerate([*small_images, np.full((64, 96, 3), 128, np.uint8)]):
        Image.fromarray(image).save(folder / f"{i}.png")
    clean = CFA(n_centers=8, threads=1).fit(sorted(folder.iterdir())[:-1])
    done = run("fit", folder, "-o", tmp_path / "part.cfa", "--n-centers", 8, "--threads", 1)
    assert done.exit_code == 0
    assert "8.png: The image shows nothing" in caplog.text
    assert "(1 skipped)" in done.stderr
    model = load(tmp_path / "part.cfa", threads=1)
    assert len(model.good_scores_) == 8
    assert model.threshold_ == pytest.approx(clean.threshold_, rel=0.2)
    assert model.inspect(folder / "8.png").verdict == "INVALID"
    all_of_them = CFA(n_centers=8, threads=1, checks=False).fit(sorted(folder.iterdir()))
    assert len(all_of_them.good_scores_) == 9


def test_the_summary_tells_what_a_single_image_costs(tmp_path):
    scores, groups = np.array([1.0, 1.1, 1.2, 7.7]), np.arange(4)
    found = provenance.costliest(scores, groups, ["a/1.png", "a/2.png", "a/3.png", "a/4.png"], Promise())
    assert found == {"name": "4.png", "threshold": 1.2}
    assert provenance.costliest(scores[:3], groups[:3], ["1", "2", "3"], Promise()) is None
    assert provenance.costliest(scores[:1], groups[:1], ["1"], Promise()) is None


def test_the_cost_is_told_by_fit_and_info(good, tmp_path):
    images = [np.asarray(Image.open(path)) for path in good]
    stained = images[0].copy()
    stained[60:200, 60:260] = 255 - stained[60:200, 60:260]
    for i, image in enumerate([*images, stained]):
        (tmp_path / "good").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "good" / f"{i:02d}.png")
    done = run("fit", tmp_path / "good", "-o", tmp_path / "part.cfa", "--n-centers", 32)
    line = next(line for line in done.stderr.splitlines() if "alone sets the limit" in line)
    assert line.startswith("16.png alone sets the limit: raw score ")
    assert "--outliers drop" in line
    assert "16.png alone sets the limit" in run("info", tmp_path / "part.cfa").stdout
