import json
import os
from pathlib import Path

import numpy as np
import pytest
import tiny_backbone

from cfa_lite import CFA, BackboneError, load
from cfa_lite.features.backbone import Backbone, open_fitted
from cfa_lite.features.manifest import BackboneOutput, find_spec

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def lite0():
    return Backbone(find_spec("lite0"))


@pytest.mark.parametrize("h, w", [(64, 96), (75, 101)])
@pytest.mark.parametrize("backbone", ["lite0", "lite2"])
def test_shipped_networks_agree_with_torch(backbone, h, w):
    """models/export_shipped.py stored the maps of the original network in torch for these pixels."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(h), np.arange(w), indexing="ij")
    pixels = ((c * 89 + y * 7 + x * 13 + (x * y) % 31 * 5) % 256).astype(np.float32)
    golden = np.load(DATA / f"{backbone}_v1_golden.npz")
    network = Backbone(find_spec(backbone))
    for output, found in zip(network.spec.outputs, network.maps(pixels)):
        expected = golden[f"{h}x{w}_{output.name}"][0]
        assert found.shape == expected.shape
        assert len(found) == output.channels
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_lite0_is_small_and_has_three_outputs(lite0):
    assert [output._replace(offset_px=(0.0, 0.0)) for output in lite0.spec.outputs] == [
        BackboneOutput("stride4", 24, 4), BackboneOutput("stride8", 40, 8), BackboneOutput("stride16", 112, 16)
    ]  # fmt: skip
    assert lite0.spec.seen() == {
        "mean": [127.0] * 3,
        "std": [128.0] * 3,
        "outputs": [["stride4", 24, 4], ["stride8", 40, 8], ["stride16", 112, 16]],
    }
    assert lite0.spec.path.stat().st_size < 2.9e6
    assert lite0.unit_px == 16


def test_lite2_has_more_channels_at_the_same_strides(small_images):
    network = Backbone(find_spec("lite2"))
    assert [(output.channels, output.stride) for output in network.spec.outputs] == [(24, 4), (48, 8), (120, 16)]
    model = CFA(backbone="lite2", n_centers=8).fit(small_images)
    assert [len(level.mean) for level in model.levels_[:3]] == [24, 48, 120]
    assert model.inspect(small_images[0]).verdict in ("OK", "NG")


def test_maps_do_not_depend_on_threads(lite0, rng):
    pixels = rng.integers(0, 256, (3, 96, 64)).astype(np.float32)
    for one, two in zip(lite0.maps(pixels, 1), lite0.maps(pixels, 2)):
        np.testing.assert_array_equal(one, two)


def test_pixels_that_are_not_finite_are_refused(lite0):
    with pytest.raises(BackboneError, match="not finite"):
        lite0.maps(np.full((3, 64, 64), np.nan, np.float32))


def test_own_backbone_can_be_fitted_and_moved(tmp_path, small_images):
    path = tiny_backbone.write(tmp_path / "tiny.onnx")
    model = CFA(backbone=path, n_centers=16, threads=1).fit(small_images)
    assert {(level.key.output, len(level.mean)) for level in model.levels_} == {(0, 5), (1, 7)}
    model.save(tmp_path / "part.cfa")
    before = model.inspect(small_images[0])
    (tmp_path / "moved").mkdir()
    for name in ("tiny.onnx", "tiny.json", "part.cfa"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    beside = load(tmp_path / "moved" / "part.cfa")
    assert beside.inspect(small_images[0]).raw_score == before.raw_score
    (tmp_path / "moved" / "part.cfa").rename(tmp_path / "part.cfa")
    with pytest.raises(BackboneError, match="does not exist"):
        load(tmp_path / "part.cfa")
    named = load(tmp_path / "part.cfa", backbone=tmp_path / "moved" / "tiny.onnx")
    assert named.inspect(small_images[0]).raw_score == before.raw_score


def test_backbone_other_than_the_fitted_one_is_refused(tmp_path, small_images):
    path = tiny_backbone.write(tmp_path / "tiny.onnx")
    CFA(backbone=path, n_centers=16, threads=1).fit(small_images).save(tmp_path / "part.cfa")
    tiny_backbone.write(path, seed=1)
    with pytest.raises(BackboneError, match="fitted with"):
        load(tmp_path / "part.cfa")


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda e: e["outputs"][0].update(channels=6),
            r"output 'fine'.*\(5, 12, 18\), the manifest states \(6, 12, 18\)",
        ),
        (lambda e: e["outputs"][1].update(stride=4), "output 'coarse'"),
        (lambda e: e["outputs"][1].update(name="lost"), "no output 'lost'"),
        (lambda e: e["input"].update(name="image"), r"inputs are \['pixels'\], the manifest states 'image'"),
        (lambda e: e["input"].update(std=[1, 0, 1]), "std above 0"),
        (lambda e: e.pop("outputs"), "KeyError: 'outputs'"),
        (lambda e: e.update(outputs=[]), "at least one"),
        (lambda e: e["outputs"][0].update(offset_px=[0.5]), "offset|unpack"),
        (lambda e: e["outputs"][0].update(offset_px=[0, 4.5]), "offset_px needs two numbers, each at most the stride"),
        (lambda e: e["outputs"][0].update(offset_px=[0, float("nan")]), "offset_px needs two numbers"),
        (lambda e: e.update(sha256="0" * 64), "was changed or damaged"),
    ],
)
def test_graph_that_contradicts_its_manifest_is_refused(tmp_path, change, words):
    path = tiny_backbone.write(tmp_path / "tiny.onnx")
    entry = json.loads(path.with_suffix(".json").read_text())
    change(entry)
    path.with_suffix(".json").write_text(json.dumps(entry))
    with pytest.raises(BackboneError, match=words):
        Backbone(find_spec(path))


def test_graph_with_a_fixed_input_size_is_refused(tmp_path):
    path = tiny_backbone.write(tmp_path / "tiny.onnx", height=64, width=96)
    with pytest.raises(BackboneError, match=r"failed on an input of shape|has shape"):
        Backbone(find_spec(path))


@pytest.mark.parametrize(
    "name, words",
    [
        ("lite99", "no backbone is called 'lite99'. Use lite0, lite0-int8, lite2"),
        ("gone.onnx", "gone.onnx does not exist"),
    ],
)
def test_missing_backbones_are_named(name, words):
    with pytest.raises(BackboneError, match=words):
        find_spec(name)


def test_missing_or_broken_manifest_entry(tmp_path):
    path = tiny_backbone.write(tmp_path / "tiny.onnx")
    entry = path.with_suffix(".json")
    for text, words in (
        ("{", "cannot be read as JSON"),
        ("[]", "not an object"),
        ('{"backbones": {}}', "a manifest of several backbones"),
    ):
        entry.write_text(text)
        with pytest.raises(BackboneError, match=words):
            find_spec(path)
    entry.unlink()
    with pytest.raises(BackboneError, match=r"tiny\.json does not exist"):
        find_spec(path)


def test_hashed_graph_is_run_even_if_the_file_is_replaced(tmp_path, rng):
    path = tiny_backbone.write(tmp_path / "tiny.onnx")
    spec = find_spec(path)
    pixels = rng.random((3, 24, 24)).astype(np.float32) * 255
    expected = Backbone(spec).maps(pixels)
    tiny_backbone.write(path, seed=1)
    network = Backbone(spec)
    path.unlink()
    for n_threads in (1, 2):  # one session each
        for found, wanted in zip(network.maps(pixels, n_threads), expected):
            np.testing.assert_array_equal(found, wanted)


def with_separate_weights(path):
    """The small CNN with its first weights in a separate file."""
    tiny_backbone.write(path)
    weights = np.random.default_rng(0).standard_normal((5, 3, 4, 4)).astype(np.float32)
    (path.parent / "weights.bin").write_bytes(weights.tobytes())
    entry = tiny_backbone._bytes(1, "location") + tiny_backbone._bytes(2, "weights.bin")
    shape = b"".join(tiny_backbone._int(1, n) for n in weights.shape)
    tensor = shape + tiny_backbone._int(2, 1) + tiny_backbone._bytes(8, "a")
    tensor += tiny_backbone._bytes(13, entry) + tiny_backbone._int(14, 1)
    graph = (
        tiny_backbone._conv("pixels", "a", "fine", 4, 4) + tiny_backbone._bytes(2, "tiny")
        + tiny_backbone._bytes(5, tensor) + tiny_backbone._value(11, "pixels", ["n", 3, "h", "w"])
        + tiny_backbone._value(12, "fine", ["n", 5, "h4", "w4"])
    )  # fmt: skip
    opset = tiny_backbone._bytes(8, tiny_backbone._bytes(1, "") + tiny_backbone._int(2, 13))
    path.write_bytes(tiny_backbone._int(1, 8) + tiny_backbone._bytes(7, graph) + opset)
    tiny_backbone.write_entry(path)


def test_weights_in_a_separate_file_are_refused(tmp_path, monkeypatch):
    """The hash does not cover this file, and onnxruntime would search for it in the working directory."""
    with_separate_weights(tmp_path / "tiny.onnx")
    monkeypatch.chdir(tmp_path)
    import onnxruntime

    assert onnxruntime.InferenceSession(os.fspath(tmp_path / "tiny.onnx"), providers=["CPUExecutionProvider"])
    with pytest.raises(BackboneError, match=r"weights in a separate file.*external_data=False"):
        find_spec(tmp_path / "tiny.onnx")


def test_a_file_of_the_same_name_beside_the_model_is_opened(tmp_path):
    (tmp_path / "moved").mkdir()
    spec = find_spec(tiny_backbone.write(tmp_path / "moved" / "tiny.onnx"))
    found = open_fitted(tmp_path / "tiny.onnx", spec.sha256, tmp_path / "moved")
    assert found.spec.path == tmp_path / "moved" / "tiny.onnx"
    with pytest.raises(BackboneError, match=r"was fitted with 000\. Restore"):
        open_fitted(spec.path, "000", tmp_path)


def test_file_that_is_not_a_graph_is_refused(tmp_path):
    path = tiny_backbone.write(tmp_path / "tiny.onnx")
    path.write_bytes(b"no graph")
    tiny_backbone.write_entry(path)
    with pytest.raises(BackboneError, match="onnxruntime cannot load"):
        Backbone(find_spec(path))


def test_manifest_changed_after_the_fit_is_refused(small_images, tmp_path):
    network = tiny_backbone.write(tmp_path / "tiny.onnx")
    CFA(recipe="whitened", backbone=network, n_centers=4, threads=1).fit(small_images).save(tmp_path / "p.cfa")
    entry = json.loads(network.with_suffix(".json").read_text())
    entry["input"]["mean"] = [0, 0, 0]
    network.with_suffix(".json").write_text("\ufeff" + json.dumps(entry), encoding="utf-8")
    with pytest.raises(BackboneError, match="manifest entry"):
        load(tmp_path / "p.cfa")


@pytest.mark.parametrize("stride", [float("inf"), 2**31, 0])
def test_manifest_with_an_impossible_stride_is_refused(tmp_path, stride):
    network = tiny_backbone.write(tmp_path / "tiny.onnx")
    entry = json.loads(network.with_suffix(".json").read_text())
    entry["outputs"][0]["stride"] = stride
    network.with_suffix(".json").write_text(json.dumps(entry))
    with pytest.raises(BackboneError, match="incomplete or wrong"):
        find_spec(network)
