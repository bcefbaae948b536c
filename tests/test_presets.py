"""Presets: parameters that a preset sets, and parameters that are given explicitly."""

import numpy as np
import pytest
from test_cli import run

from cfa_lite import CFA, load, parameters
from cfa_lite.parameters import PRESETS


def test_preset_sets_parameters_that_are_not_given():
    fast = parameters.resolved(CFA(preset="fast").get_params())
    assert (fast["backbone"], fast["size"], fast["n_centers"]) == ("lite0-int8", 192, 512)
    by_hand = parameters.resolved(CFA(preset="fast", size=320, backbone="lite2").get_params())
    assert (by_hand["backbone"], by_hand["size"], by_hand["n_centers"]) == ("lite2", 320, 512)
    exact = parameters.resolved(CFA().get_params())
    assert (exact["backbone"], exact["size"], exact["n_centers"]) == ("lite0", 256, 1024)


@pytest.mark.parametrize(
    "params, words",
    [({"preset": "warp"}, "preset='warp'")],
)
def test_wrong_presets_are_named(small_images, params, words):
    with pytest.raises(ValueError, match=words):
        CFA(**params).fit(small_images)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_model_keeps_its_preset_and_the_values_of_it(small_images, tmp_path, preset):
    model = CFA("whitened", preset=preset, threads=1).fit(small_images)
    assert model.backbone is None and model.get_params()["preset"] == preset
    model.save(tmp_path / "part.cfa")
    again = load(tmp_path / "part.cfa", threads=1)
    assert (again.preset, again.backbone, again.size) == (preset, PRESETS[preset].backbone, PRESETS[preset].size)
    for image in small_images[:2]:
        one, other = model.inspect(image), again.inspect(image)
        assert one.score == other.score
        np.testing.assert_array_equal(one.map, other.map)
    size = min(PRESETS[preset].size, 256)  # small images are not enlarged beyond the default size
    assert one.map.size == pytest.approx(size**2, rel=0.15)
    assert again.fitted_.scorer.n_scales == PRESETS[preset].n_scales


def test_fit_takes_a_preset(cloth, tmp_path):
    done = run("fit", cloth / "good", "-o", tmp_path / "p.cfa", "--preset", "fast")
    assert done.exit_code == 0, done.output
    assert "working size 224x160 px" in done.stderr
    told = run("info", tmp_path / "p.cfa").stdout
    assert "preset           fast" in told and "lite0-int8" in told
