"""Presets: what `speed` stands for, and what is given by hand."""

import numpy as np
import pytest
from test_cli import run

from cfa_lite import CFA, load, presets
from cfa_lite.presets import PRESETS


def test_a_preset_fills_in_what_is_not_given():
    fast = presets.resolved(CFA(speed="fast").get_params())
    assert (fast["backbone"], fast["size"], fast["n_centers"]) == ("lite0-int8", 192, 128)
    by_hand = presets.resolved(CFA(speed="fast", size=320, backbone="lite2").get_params())
    assert (by_hand["backbone"], by_hand["size"], by_hand["n_centers"]) == ("lite2", 320, 128)
    exact = presets.resolved(CFA().get_params())
    assert (exact["backbone"], exact["size"], exact["n_centers"]) == ("lite0", 256, 256)


@pytest.mark.parametrize(
    "params, words",
    [({"speed": "warp"}, "speed='warp'"), ({"speed": "fast", "recipe": "paper"}, "speed, size and smallest_defect")],
)
def test_wrong_presets_are_named(small_images, params, words):
    with pytest.raises(ValueError, match=words):
        CFA(**params).fit(small_images)


@pytest.mark.parametrize("speed", list(PRESETS))
def test_a_model_keeps_its_preset_and_what_it_stood_for(small_images, tmp_path, speed):
    model = CFA("none", speed=speed, threads=1).fit(small_images)
    assert model.backbone is None and model.get_params()["speed"] == speed
    model.save(tmp_path / "part.cfa")
    again = load(tmp_path / "part.cfa", threads=1)
    assert (again.speed, again.backbone, again.size) == (speed, PRESETS[speed].backbone, PRESETS[speed].size)
    for image in small_images[:2]:
        one, other = model.inspect(image), again.inspect(image)
        assert one.score == other.score
        np.testing.assert_array_equal(one.map, other.map)
    assert one.map.size == pytest.approx(PRESETS[speed].size ** 2, rel=0.15)


def test_fit_takes_a_preset(cloth, tmp_path):
    done = run("fit", cloth / "good", "-o", tmp_path / "p.cfa", "--speed", "fast")
    assert done.exit_code == 0, done.output
    assert "worked at 224x160 px" in done.stderr
    told = run("info", tmp_path / "p.cfa").stdout
    assert "speed fast" in told and "lite0-int8" in told
