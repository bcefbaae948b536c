"""Outliers do not count towards the limits by default; the promised rate covers them, and teach leaves them out too."""

import numpy as np
import pytest
import tiny_backbone
from PIL import Image

from cfa_lite import CFA, load
from cfa_lite.report import text


def spoiled(image, rows, columns):
    """Return a copy of an image with a dark square and its surroundings inverted."""
    found = image.copy()
    found[rows, columns] = 255 - found[rows, columns]
    found[rows.start + 2 : rows.stop - 6, columns.start + 2 : columns.stop - 6] = 0
    return found


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    base = rng.integers(80, 160, (64, 64, 3))
    return [np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8) for _ in range(25)]


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory):
    """Twenty-two good images and a spoiled one."""
    folder = tmp_path_factory.mktemp("good")
    for i, image in enumerate([*images[:22], spoiled(images[22], slice(10, 40), slice(10, 40))]):
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def fitted(folder, tmp_path_factory):
    network = tiny_backbone.write(tmp_path_factory.mktemp("network") / "tiny.onnx")
    ways = ("auto", "count", "drop")
    return {how: CFA(outliers=how, backbone=network, n_centers=8, size=64, threads=1).fit(folder) for how in ways}


def test_the_limit_is_that_without_the_outlier_and_the_promise_that_with_it(fitted, folder):
    auto, count, drop = fitted.values()
    assert [image["name"] for image in auto.fitted_.training["not_counted"]["images"]] == ["22.png"]
    assert auto.threshold_ == drop.threshold_ < count.threshold_ / 2
    assert auto.limits_.promised_rate == pytest.approx(2 / 24)
    assert drop.limits_.promised_rate == pytest.approx(1 / 23)
    assert (auto.limits_.n_images, count.limits_.n_images, drop.limits_.n_images) == (23, 23, 22)
    assert auto.inspect(folder / "22.png").verdict == drop.inspect(folder / "22.png").verdict == "NG"
    assert count.inspect(folder / "22.png").verdict != "NG"
    assert count.fitted_.training["not_counted"] is drop.fitted_.training["not_counted"] is None


def test_the_cost_is_told_in_numbers(fitted):
    auto, count, _ = fitted.values()
    told = next(line for line in text.remarks(auto.info()) if "does not count" in line)
    assert f"22.png {count.threshold_ / auto.threshold_:.2f}." in told
    assert f"The limit is raw score {auto.threshold_:.3g}; it would make it {count.threshold_:.3g}." in told
    assert "If the part is not good, at most 4.35% of good images are NG; if good, at most 8.33%." in told
    assert told == text.info_lines(auto.info())["not counted"]
    assert any(line.startswith("22 images are too few") for line in text.remarks(auto.info()))
    assert not any("does not count" in line for line in text.remarks(count.info()))


def test_what_did_not_count_in_the_fit_does_not_count_when_teaching(fitted, folder, images, tmp_path):
    fitted["auto"].save(tmp_path / "part.cfa")
    model = load(tmp_path / "part.cfa", threads=1)
    before = model.threshold_
    confirmed = spoiled(images[23], slice(5, 20), slice(40, 60))
    model.teach([*sorted(folder.iterdir()), confirmed], {"stain": [spoiled(images[24], slice(40, 60), slice(30, 60))]})
    assert [image["name"] for image in model.fitted_.training["not_counted"]["images"]] == ["22.png"]
    assert model.limits_.n_images == 24 and model.limits_.promised_rate == pytest.approx(2 / 25)
    assert before < model.threshold_ < fitted["count"].threshold_  # the confirmed image counts, the outlier does not
    model.calibrate(sorted(folder.glob("0*.png")))
    assert not any("does not count" in line for line in text.remarks(model.info()))
