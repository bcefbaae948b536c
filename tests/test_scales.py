"""The number of scales at which images are seen, and the preset that sees three."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from cfa_lite import CFA, ArchiveError, load
from cfa_lite.features import feature_maps, tiling
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.manifest import find_spec
from cfa_lite.storage import archive


@pytest.fixture(scope="module")
def backbone():
    return Backbone(find_spec("lite0"))


def images_of(rng, size, n=6):
    coarse = rng.integers(40, 200, (n, 9, 9)).astype(np.uint8)
    return [np.asarray(Image.fromarray(c).resize(size, Image.Resampling.BICUBIC)) for c in coarse]


def test_each_scale_has_half_the_size_of_the_one_before(rng, backbone):
    pixels = rng.uniform(0, 255, (3, 128, 192)).astype(np.float32)
    three = feature_maps.from_pixels(pixels, backbone, n_scales=3)
    two = feature_maps.from_pixels(pixels, backbone)
    assert {key.divisor for key in three} == {1, 2, 4} and {key.divisor for key in two} == {1, 2}
    for key, values in two.items():
        np.testing.assert_array_equal(three[key], values)
        quarter = three[feature_maps.MapKey(4, key.output)]
        assert np.array(values.shape[1:]).tolist() == (np.array(quarter.shape[1:]) * (4 // key.divisor)).tolist()


@pytest.mark.parametrize("n_scales", [1, 2, 3])
def test_a_model_of_any_number_of_scales_survives_its_file(rng, tmp_path, n_scales):
    images = images_of(rng, (150, 130))
    model = CFA(n_scales=n_scales, n_centers=8, threads=2).fit(images)
    assert len(model.levels_) == 6 * n_scales
    assert sum(level.score_weight for level in model.levels_) == pytest.approx(1)
    model.save(tmp_path / "part.cfa")
    one, other = model.inspect(images[0]), load(tmp_path / "part.cfa", threads=1).inspect(images[0])
    np.testing.assert_array_equal(one.map, other.map)
    assert np.all(np.array(one.map.shape) % (16 * 2 ** (n_scales - 1)) == 0)


def test_tiles_of_three_scales_agree_with_the_whole(rng, monkeypatch, backbone):
    pixels = np.asarray(Image.fromarray(rng.uniform(0, 255, (40, 60)).astype(np.float32)).resize((1024, 256)))
    pixels = np.ascontiguousarray(np.stack([pixels] * 3))
    whole = feature_maps.from_pixels(pixels, backbone, n_scales=3)
    monkeypatch.setattr(tiling, "WHOLE_PX", 0)
    monkeypatch.setattr(tiling, "CORE_PX", 256)
    tiled = feature_maps.from_pixels(pixels, backbone, n_scales=3)
    for key, values in whole.items():
        assert tiled[key].shape == values.shape
        assert np.abs(tiled[key] - values).mean() < 0.05 * np.abs(values).mean()


def test_thorough_works_large_images_larger_and_enlarges_none(rng, tmp_path):
    scales = {}
    for name, size in (("small", (96, 64)), ("middle", (300, 320)), ("large", (900, 700))):
        images = images_of(rng, size, n=3)
        for preset in ("accurate", "thorough"):
            model = CFA("whitened", preset=preset, n_centers=4, threads=2).fit(images)
            scales[name, preset] = model.scale_
            assert model.fitted_.scorer.n_scales == (3 if preset == "thorough" else 2)
    assert scales["small", "thorough"] == scales["small", "accurate"] == pytest.approx(256 / np.sqrt(96 * 64))
    assert scales["middle", "thorough"] == 1 > scales["middle", "accurate"]
    assert scales["large", "thorough"] == pytest.approx(448 / np.sqrt(900 * 700))
    small = images_of(rng, (96, 64), n=3)
    asked = CFA("whitened", preset="thorough", size=320, n_centers=4, threads=2).fit(small)
    assert asked.scale_ == pytest.approx(320 / np.sqrt(96 * 64))  # another size that is given is kept
    model = CFA("whitened", preset="thorough", n_centers=4, threads=2).fit(small)
    model.save(tmp_path / "part.cfa")
    assert load(tmp_path / "part.cfa").fit(small).scale_ == model.scale_  # fitted again, after a file


def test_wrong_numbers_of_scales_are_refused(small_images, part, tmp_path):
    for n_scales in (0, 4, 1.5):
        with pytest.raises(
            ValueError, match=f"n_scales={n_scales} is not allowed. Use an integer of at least 1 and at"
        ):
            CFA(n_scales=n_scales).fit(small_images)
    with zipfile.ZipFile(part) as file:
        members = {name: file.read(name) for name in file.namelist()}
    meta = json.loads(members["model.json"])
    for level in meta["levels"]:
        level["divisor"] *= 4
    members["model.json"] = json.dumps(archive.signed(meta)).encode()
    with zipfile.ZipFile(tmp_path / "odd.cfa", "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    with pytest.raises(ArchiveError, match="set of levels is incomplete or has unknown levels"):
        load(tmp_path / "odd.cfa")
