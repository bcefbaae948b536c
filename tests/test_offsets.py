"""Maps are moved back by the offsets of the network's outputs; scores are as without them."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_backbone

from cfa_lite import CFA, load
from cfa_lite.demo.cloth import weave
from cfa_lite.features import feature_maps, images
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.manifest import find_spec
from cfa_lite.method import anomaly_map
from cfa_lite.method.resampling import bilinear_matrix
from cfa_lite.storage import archive

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

import measure_offsets


def test_matrix_moves_a_ramp_back():
    ramp = np.arange(16.0) * 4 + 1.5  # the place of each cell, in output pixels
    inside = slice(8, -8)
    for offset in (-2.3, 0.0, 1.75):
        moved = bilinear_matrix(16, 64, offset) @ ramp
        np.testing.assert_allclose(moved[inside], np.arange(64)[inside] + offset, atol=1e-9)
    np.testing.assert_array_equal(bilinear_matrix(16, 64, 0.0), bilinear_matrix(16, 64))


@pytest.mark.parametrize("smoothing", [0.0, 0.02])
def test_each_level_of_a_map_is_moved_back_by_its_own_offset(smoothing):
    """A bump on two grids, each shifted by another offset, comes to the same place."""
    place, size, maps, offsets = (70.3, 41.8), (128, 96), [], [(-1.5, 2.5), (3.25, -0.75), (0.0, 0.0)]
    for (down, right), cell in zip(offsets, (4, 8, 8)):
        y, x = ((np.arange(side // cell) + 0.5) * cell for side in size)
        near = ((y - place[0] - down)[:, None] ** 2 + (x - place[1] - right) ** 2) / (2 * 12**2)
        maps.append(np.exp(-near).astype(np.float32))
    for levels in ([0], [1], [2], [0, 1, 2]):
        shown = anomaly_map.weighted_map(
            [maps[i] for i in levels], [1.0] * len(levels), size, smoothing, [offsets[i] for i in levels]
        )
        total = shown.sum()
        assert (shown.sum(axis=1) @ (np.arange(128) + 0.5)) / total == pytest.approx(place[0], abs=0.15)
        assert (shown.sum(axis=0) @ (np.arange(96) + 0.5)) / total == pytest.approx(place[1], abs=0.3)


def test_offsets_are_measured(tmp_path):
    """Windows of the tiny network cover their cells, so it is off by little; on a shifted image, by the shift more."""
    network = Backbone(find_spec(tiny_backbone.write(tmp_path / "tiny.onnx")))
    fine, coarse = measure_offsets.measured(network.maps, network.unit_px)
    assert np.abs(fine).max() < 1 and np.abs(coarse).max() < 2
    shifted = measure_offsets.measured(
        lambda pixels: network.maps(np.roll(pixels, (-3, 2), axis=(1, 2))), network.unit_px
    )
    np.testing.assert_allclose(np.subtract(shifted, [fine, coarse]), [[-3, 2]] * 2, atol=0.6)


def test_manifest_states_what_is_measured():
    shipped = Backbone(find_spec("lite0"))
    found = measure_offsets.measured(shipped.maps, shipped.unit_px)
    stated = [output.offset_px for output in shipped.spec.outputs]
    np.testing.assert_allclose(found, stated, atol=0.02)
    assert min(min(offset) for offset in stated) < -1.5  # SAME padding: up and left


def test_written_entry_has_offsets(tmp_path, monkeypatch, capsys):
    path = tiny_backbone.write(tmp_path / "tiny.onnx")
    before = json.loads((tmp_path / "tiny.json").read_text())
    assert all(output.offset_px == (0, 0) for output in find_spec(path).outputs)
    monkeypatch.setattr(sys, "argv", ["measure_offsets.py", str(path)])
    measure_offsets.main()
    after = json.loads((tmp_path / "tiny.json").read_text())
    assert [set(output) - set(before["outputs"][0]) for output in after["outputs"]] == [{"offset_px"}] * 2
    assert [list(output.offset_px) for output in find_spec(path).outputs] == [o["offset_px"] for o in after["outputs"]]
    assert "px down" in capsys.readouterr().out


@pytest.fixture(scope="module")
def model():
    good = [weave(np.random.default_rng([5, i]), (192, 192)) for i in range(12)]
    return CFA(n_centers=64, threads=2).fit(good)


def test_peak_sits_on_a_painted_dot(model):
    """Also in an image turned by 180 degrees; without the offsets, the peak is up and left in both."""
    scorer, backbone = model.fitted_.scorer, model.open_backbone()
    stays = replace(scorer, offsets_px=())
    errors = {True: [], False: []}
    rng = np.random.default_rng(3)
    for i in range(10):
        image, place = weave(np.random.default_rng([6, i]), (192, 192)), rng.uniform(40, 150, 2)
        y, x = np.mgrid[:192, :192] + 0.5
        image[np.hypot(y - place[0], x - place[1]) < 3] = (200, 30, 30)
        for shown, (row, column) in ((image, place), (np.ascontiguousarray(image[::-1, ::-1]), 192 - place)):
            loaded = images.read(shown)
            size = scorer.working_size(loaded.size_px, backbone)
            distances = scorer.distances(feature_maps.from_pixels(images.to_pixels(loaded, size), backbone))
            for one in (scorer, stays):
                peak = np.unravel_index(one.combined(distances, size).argmax(), size)
                scale = size[0] / 192
                errors[bool(one.offsets_px)].append((peak[0] + 0.5 - row * scale, peak[1] + 0.5 - column * scale))
    moved, before = (np.array(errors[key]) for key in (True, False))
    assert np.median(np.hypot(*moved.T)) < 1.1 < np.median(np.hypot(*before.T))
    assert np.abs(np.median(moved, axis=0)).max() < 0.5
    assert np.median(before, axis=0).max() < -0.4


def test_scores_do_not_depend_on_offsets_and_maps_peak_at_them(model):
    scorer, backbone = model.fitted_.scorer, model.open_backbone()
    assert scorer.offsets_px == tuple(output.offset_px for output in backbone.spec.outputs)
    pixels = np.random.default_rng(1).uniform(0, 255, (3, 192, 192)).astype(np.float32)
    moved, stays = (one.scored(pixels, backbone, 1).raw_map for one in (scorer, replace(scorer, offsets_px=())))
    assert moved.max() == stays.max()
    assert np.abs(moved - stays).max() > 0.01 * stays.max()


def test_model_without_offsets_gives_the_maps_of_its_fit(model, tmp_path):
    """A file from before there were offsets has none, whatever the manifest says by now."""
    model.save(tmp_path / "new.cfa")
    meta, arrays = archive.read(tmp_path / "new.cfa")
    image = weave(np.random.default_rng(9), (192, 192))
    again = load(tmp_path / "new.cfa").inspect(image)
    np.testing.assert_array_equal(again.map, model.inspect(image).map)
    meta.pop("offsets_px")
    archive.write(tmp_path / "old.cfa", {k: v for k, v in meta.items() if k != "arrays"}, dict(arrays))
    old = load(tmp_path / "old.cfa")
    assert old.fitted_.scorer.offsets_px == ()
    assert old.inspect(image).score == again.score
    assert not np.array_equal(old.inspect(image).map, again.map)
