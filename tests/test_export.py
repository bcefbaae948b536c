"""models/export.py and models/quantize.py: networks of users. What needs torch or onnx is skipped without them."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_backbone
from PIL import Image

from cfa_lite import CFA, BackboneError, ImageError
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.manifest import find_spec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

import _outputs
import _pair
import export
import quantize
from _outputs import ExportError, Output, Seen

# What modules give for an image of 448x224 pixels (height x width), in the order in which they finish.
RESNET = [
    Seen("conv1", (1, 64, 224, 112)), Seen("maxpool", (1, 64, 112, 56)), Seen("layer1.0.relu", (1, 256, 112, 56)),
    Seen("layer1.0", (1, 256, 112, 56)), Seen("layer1", (1, 256, 112, 56)),
    Seen("layer2.0.conv1", (1, 128, 112, 56)), Seen("layer2.0", (1, 512, 56, 28)),
    Seen("layer2", (1, 512, 56, 28)),
    Seen("layer3.0.conv1", (1, 256, 56, 28)), Seen("layer3.0", (1, 1024, 28, 14)),
    Seen("layer3", (1, 1024, 28, 14)), Seen("layer4", (1, 2048, 14, 7)),
    Seen("avgpool", (1, 2048, 1, 1)), Seen("fc", (1, 1000)), Seen("", (1, 1000)),
]  # fmt: skip
VGG = [
    *(Seen(f"features.{i}", (1, 64, 448, 224)) for i in range(2)), Seen("features.2", (1, 64, 224, 112)),
    Seen("features.3", (1, 256, 112, 56)), Seen("features.4", (1, 256, 112, 56)), Seen("features.5", (1, 256, 56, 28)),
    Seen("features.6", (1, 512, 56, 28)), Seen("features.7", (1, 512, 28, 14)), Seen("features.8", (1, 512, 28, 14)),
    Seen("features.9", (1, 512, 14, 7)), Seen("features", (1, 512, 14, 7)), Seen("", (1, 1000)),
]  # fmt: skip
# the stem has stride 4 at a smaller depth than the stages
CONVNEXT = [
    Seen("stem", (1, 96, 112, 56)), Seen("stages.0", (1, 96, 112, 56)), Seen("stages.1", (1, 192, 56, 28)),
    Seen("stages.2", (1, 384, 28, 14)), Seen("stages.3", (1, 768, 14, 7)), Seen("stages", (1, 768, 14, 7)),
]  # fmt: skip
# patches of 16 px: the map of the first convolution has stride 16
VIT = [
    Seen("patch_embed.proj", (1, 384, 28, 14)), Seen("patch_embed", (1, 28, 14, 384)), Seen("blocks.0", (1, 397, 384)),
    Seen("blocks.1", (1, 397, 384)), Seen("blocks", (1, 397, 384)), Seen("norm", (1, 397, 384)),
    Seen("fc_norm", (1, 384)),
]  # fmt: skip
SWIN = [Seen("patch_embed", (1, 112, 56, 96)), Seen("layers.0", (1, 112, 56, 96)), Seen("layers.1", (1, 56, 28, 192))]


@pytest.mark.parametrize(
    "seen, n_prefix, expected",
    [
        (RESNET, 0, [Output("layer1", 256, 4), Output("layer2", 512, 8), Output("layer3", 1024, 16)]),
        (VGG, 0, [Output("features.4", 256, 4), Output("features.6", 512, 8), Output("features.8", 512, 16)]),
        (CONVNEXT, 0, [Output("stages.0", 96, 4), Output("stages.1", 192, 8), Output("stages.2", 384, 16)]),
        (VIT, 5, [Output("norm", 384, 16, is_tokens=True)]),
    ],
    ids=["resnet", "vgg", "convnext", "vit"],
)
def test_default_outputs_are_the_last_stage_of_each_stride_or_the_last_tokens(seen, n_prefix, expected):
    assert _outputs.default_outputs(seen, n_prefix) == expected


def test_channels_last_is_refused():
    with pytest.raises(ExportError, match="no outputs could be chosen.*--outputs"):
        _outputs.default_outputs(SWIN)
    with pytest.raises(ExportError, match=r"'layers.0' gives no feature map: for an image of 224x448 px"):
        _outputs.named_outputs(SWIN, ["layers.0"])


def test_named_outputs_come_in_the_order_of_the_network():
    found = _outputs.named_outputs(RESNET, ["layer4", "layer1.0.relu"])
    assert found == [Output("layer1.0.relu", 256, 4), Output("layer4", 2048, 32)]


@pytest.mark.parametrize(
    "names, words",
    [
        (["layer9"], "no module called 'layer9' runs"),
        (["fc"], r"'fc' gives no feature map.*\(1, 1000\)"),
        (["avgpool"], "'avgpool' gives no feature map"),
        (["layer1", "layer1"], "names a module twice"),
        (["twice"], "'twice' runs 2 times"),
    ],
)
def test_outputs_that_cannot_be_are_refused(names, words):
    with pytest.raises(ExportError, match=words):
        _outputs.named_outputs([*RESNET, *[Seen("twice", (1, 8, 112, 56))] * 2], names)


@pytest.mark.parametrize(
    "shape, n_prefix, stride",
    [
        ((1, 32 * 16 + 1, 384), 1, 14),
        ((1, 32 * 16, 384), 1, None),  # the class token was expected, and one patch is missing
        ((1, 28 * 14, 8), 0, 16),
        ((1, 8, 64, 32), 0, 7),
        ((1, 8, 64, 64), 0, None),
        ((1, 8, 3, 3), 0, None),
        ((1, 6, 513, 513), 1, None),  # attention
        ((1, 0, 4), 0, None),
    ],
)
def test_stride_of_a_module(shape, n_prefix, stride):
    found = _outputs.as_output(Seen("m", shape), n_prefix)
    assert (found and found.stride) == stride


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["resnet18"], "--weights, or --random-weights"),
        (["resnet18", "--weights", "a.pth", "--random-weights"], "not allowed with"),
        (["resnet18", "--random-weights", "--images", "good"], "--images is for --int8"),
        (["resnet18", "--random-weights", "--std", "1,0,1"], "--std must be above 0"),
        (["resnet18", "--random-weights", "--mean", "1,2"], "'1,2' is not three numbers"),
        (["resnet18", "--random-weights", "--mean", "1,2,x"], "'1,2,x' is not three numbers"),
        (["resnet18", "--random-weights", "--outputs", "a,,b"], "not a list of names"),
        (["resnet18", "--random-weights", "--library", "keras"], "invalid choice"),
    ],
)
def test_wrong_arguments_end_with_2_and_tell_why(arguments, words, capsys):
    with pytest.raises(SystemExit) as end:
        export.parsed(arguments)
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_output_is_named_after_the_network():
    args = export.parsed(["vgg19", "--weights", "w.pth", "--outputs", "a.1, b"])
    assert args.output == Path("vgg19.onnx")
    assert args.outputs == ["a.1", "b"]


@pytest.mark.parametrize("existing", ["own.onnx", "own.json", "own-int8.onnx"])
def test_existing_files_are_kept(existing, tmp_path, capsys):
    (tmp_path / existing).write_text("mine")
    assert export.main(["resnet18", "--random-weights", "--int8", "-o", str(tmp_path / "own.onnx")]) == 1
    assert f"{existing} exists. Delete it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"


@pytest.mark.parametrize("path, words", [("own.pt", "must end in .onnx"), ("no/own.onnx", "no does not exist")])
def test_a_file_that_cannot_be_written_is_named(path, words, tmp_path, capsys):
    assert export.main(["resnet18", "--random-weights", "-o", str(tmp_path / path)]) == 1
    assert words in capsys.readouterr().err


def test_missing_packages_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "NEEDED", ("numpy", "no_such_package"))
    assert export.main(["resnet18", "--random-weights", "-o", str(tmp_path / "own.onnx")]) == 1
    assert 'no_such_package is not installed. Run: pip install "cfa-lite[export]"' in capsys.readouterr().err


def tiny_entry(graph):
    entry = {"name": "pixels", "mean": [128] * 3, "std": [64] * 3}
    outputs = [export.entry_of_output(Output("fine", 5, 4)), export.entry_of_output(Output("coarse", 7, 12))]
    return _pair.entry_of(graph, entry, outputs, "tests")


def test_the_entry_is_what_a_fit_needs(tmp_path, small_images):
    graph = tiny_backbone.write(tmp_path / "made.onnx").read_bytes()
    path = tmp_path / "own.onnx"
    assert _pair.write(path, graph, tiny_entry(graph), lambda backbone: str(backbone.unit_px)) == "12"
    assert json.loads(path.with_suffix(".json").read_text())["outputs"][1]["stride"] == 12
    model = CFA(recipe="whitened", backbone=path, n_centers=4, threads=1).fit(small_images)
    assert {len(level.mean) for level in model.levels_} == {5, 7}


def failing(backbone):
    raise ExportError("differs")


@pytest.mark.parametrize(
    "change, check, error",
    [(lambda e: None, failing, ExportError), (lambda e: e["outputs"][0].update(channels=6), str, BackboneError)],
    ids=["differs", "contradicts"],
)
def test_a_network_that_fails_its_check_leaves_no_file(change, check, error, tmp_path):
    graph = tiny_backbone.write(tmp_path / "made.onnx").read_bytes()
    entry = tiny_entry(graph)
    change(entry)
    (tmp_path / "empty").mkdir()
    with pytest.raises(error):
        _pair.write(tmp_path / "empty" / "own.onnx", graph, entry, check)
    assert list((tmp_path / "empty").iterdir()) == []


def test_relative_errors():
    expected = [np.array([1.0, -4.0]), np.zeros(2), np.array([1.0, np.inf])]
    found = [np.array([1.0, -3.0]), np.zeros(2), np.array([1.0, np.inf])]
    assert _pair.relative_errors(found, expected) == [0.25, np.inf, np.inf]


# INT8


def images_in(folder, images):
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def test_images_of_a_folder_are_read_whole_and_halved(tmp_path, small_images, capsys):
    folder = images_in(tmp_path / "good", small_images)
    (folder / "bad.png").write_text("no image")
    found = quantize.of_folder(folder, 12)
    assert [one.shape for one in found[:2]] == [(3, 216, 312), (3, 108, 156)]
    assert len(found) == 2 * len(small_images)
    assert "bad.png" in capsys.readouterr().err


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no image"):
        quantize.of_folder(tmp_path, 16)
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(ExportError, match="holds no image that can be read"):
        quantize.of_folder(tmp_path, 16)


def test_drawn_images_fit_the_network():
    shapes = {one.shape for one in quantize.drawn(28, n_rounds=1)}
    assert shapes == {(3, 252, 252), (3, 112, 112)}


def module_that_needs_onnx(name):
    pytest.importorskip("onnx", reason="onnx is not installed")
    return importlib.import_module(name)


@pytest.fixture
def tiny(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    return tiny_backbone.write(tmp_path / "tiny.onnx")


def test_int8_maps_are_close_to_float_maps(tiny, tmp_path, small_images):
    output = tmp_path / "tiny-int8.onnx"
    said = quantize.quantize(tiny, output, images_in(tmp_path / "good", small_images))
    assert "its maps are off by fine 0.00" in said
    exact, integer = Backbone(find_spec(tiny)), Backbone(find_spec(output))
    pixels = np.asarray(small_images[0], np.float32).transpose(2, 0, 1)[:, :60, :96]
    fine, coarse = (np.linalg.norm(f - e) / np.linalg.norm(e) for f, e in zip(integer.maps(pixels), exact.maps(pixels)))
    assert fine < 1e-6  # the first convolution reads the pixels and stays float
    assert 1e-4 < coarse < 0.03


def test_biases_correct_the_shift_of_coarse_weights(tiny, tmp_path, small_images, monkeypatch):
    monkeypatch.setattr(module_that_needs_onnx("_qdq"), "MAX_WEIGHT", 3)
    output = tmp_path / "tiny-int8.onnx"
    quantize.quantize(tiny, output, images_in(tmp_path / "good", small_images), max_error=1)
    exact, integer = Backbone(find_spec(tiny)), Backbone(find_spec(output))
    pixels = quantize.of_folder(tmp_path / "good", 12)
    moved = [(integer.maps(one)[1] - exact.maps(one)[1]).reshape(7, -1) for one in pixels]
    moved = np.concatenate(moved, axis=1)
    assert np.abs(moved.mean(1)).max() < 0.1 * moved.std(1).min()


def test_too_inexact_int8_network_is_not_written(tiny, tmp_path, capsys):
    assert quantize.main([str(tiny), "--max-error", "1e-6"]) == 1
    assert "was not written: as integers" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.json", "tiny.onnx"]


def convolution(weight, x, n_groups):
    """1x1 convolution of x (c, n) by weight (c_out, c / n_groups, 1, 1)."""
    n_out, n_in = weight.shape[:2]
    group = np.arange(n_out) * n_groups // n_out
    return np.stack([weight[o, :, 0, 0] @ x[g * n_in : (g + 1) * n_in] for o, g in enumerate(group)])


@pytest.mark.parametrize("n_groups, n_in", [(1, 5), (2, 3), (6, 1)])
def test_integer_weights_are_close_and_their_shift_is_that_of_the_mean(n_groups, n_in, rng):
    qdq = module_that_needs_onnx("_qdq")
    weight, x = rng.standard_normal((6, n_in, 1, 1)), rng.uniform(0, 3, (n_in * n_groups, 50))
    integers, scale, shift = qdq.integer_weight(weight, x.mean(1), n_groups)
    close = integers * scale[:, None, None, None]
    assert np.abs(close - weight).max() <= scale.max() / 2 + 1e-12
    moved = convolution(close, x, n_groups) - convolution(weight, x, n_groups)
    np.testing.assert_allclose(shift, moved.mean(1), atol=1e-12)


def test_neighboring_channels_cannot_saturate_16_bits(rng):
    qdq = module_that_needs_onnx("_qdq")
    weight = np.abs(rng.standard_normal((4, 6, 3, 3)))
    integers, _, _ = qdq.integer_weight(weight, np.zeros(6))
    assert (integers[:, ::2] + integers[:, 1::2]).max() == qdq.MAX_PAIR


# torch


@pytest.fixture(scope="module")
def torch():
    for name in export.NEEDED:
        pytest.importorskip(name, reason=f"{name} is not installed")
    return importlib.import_module("torch")


@pytest.mark.parametrize(
    "name, strides, unit_px",
    [("resnet18", [4, 8, 16], 16), ("mobilenetv3_small_050", [4, 8, 16], 16), ("vit_tiny_patch16_224", [16], 16)],
)
def test_exported_network_can_be_fitted(torch, name, strides, unit_px, tmp_path, small_images, capsys):
    torch.manual_seed(0)
    path = tmp_path / "own.onnx"
    assert export.main([name, "--random-weights", "-o", str(path)]) == 0
    assert "of the largest value" in capsys.readouterr().out
    network = Backbone(find_spec(path))
    assert ([o.stride for o in network.spec.outputs], network.unit_px) == (strides, unit_px)
    model = CFA(recipe="whitened", backbone=path, n_centers=4, threads=1).fit(small_images)
    assert model.inspect(small_images[0]).verdict in ("OK", "NG", "UNSURE")


def test_weights_of_a_file_are_used(torch, tmp_path, capsys):
    torchvision = importlib.import_module("torchvision")
    network = torchvision.models.resnet18(num_classes=3)  # the classifier is behind the cut
    weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": {**weights, "mask_token": torch.zeros(1)}}, tmp_path / "w.pth")
    path = tmp_path / "own.onnx"
    assert export.main(["resnet18", "--weights", str(tmp_path / "w.pth"), "--outputs", "layer1", "-o", str(path)]) == 0
    assert "1 weights" in capsys.readouterr().err
    own = Backbone(find_spec(path))
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 64, 96)).astype(np.float32)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    given = torch.from_numpy(((pixels / 255 - mean[:, None, None]) / std[:, None, None])[None].astype(np.float32))
    n = network.eval()
    with torch.no_grad():
        expected = n.layer1(n.maxpool(n.relu(n.bn1(n.conv1(given)))))[0].numpy()
    np.testing.assert_allclose(own.maps(pixels)[0], expected, atol=1e-4 * np.abs(expected).max())


def test_weights_of_another_network_are_refused(torch, tmp_path, capsys):
    torchvision = importlib.import_module("torchvision")
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pth")
    for name, words in (("resnet50", "missing"), ("wide_resnet50_2", "missing"), ("resnet34", "are missing")):
        assert export.main([name, "--weights", str(tmp_path / "w.pth"), "-o", str(tmp_path / "o.onnx")]) == 1
        assert words in capsys.readouterr().err
    (tmp_path / "w.pth").write_bytes(b"no weights")
    assert export.main(["resnet18", "--weights", str(tmp_path / "w.pth"), "-o", str(tmp_path / "o.onnx")]) == 1
    assert "cannot be read as weights" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.pth"]


@pytest.mark.parametrize(
    "name, words",
    [
        ("resnet19", "neither torchvision nor timm has a network called 'resnet19'"),
        ("vit_b_16", "vit_b_16 of torchvision does not take an image of 224x448 px"),
    ],
)
def test_networks_that_cannot_be_exported_are_named(torch, name, words, tmp_path, capsys):
    assert export.main([name, "--random-weights", "-o", str(tmp_path / "o.onnx")]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("size", [(5, 9), (37, 37), (50, 41)])
def test_position_embeddings_are_resized_as_timm_does(torch, size):
    theirs = importlib.import_module("timm.layers").resample_abs_pos_embed
    ours = importlib.import_module("_network").resampled_position_embeddings
    torch.manual_seed(0)
    given = torch.randn(1, 37 * 37 + 2, 6)
    found, expected = ours(given, size, num_prefix_tokens=2), theirs(given, size, num_prefix_tokens=2)
    assert found.shape == expected.shape == (1, size[0] * size[1] + 2, 6)
    assert (found - expected).abs().max() < 1e-5


def test_a_network_that_differs_from_torch_is_not_written(torch, tmp_path, monkeypatch, capsys):
    cut = importlib.import_module("_network").Cut
    exact = cut.maps
    monkeypatch.setattr(cut, "maps", lambda self, pixels: [1.1 * found for found in exact(self, pixels)])
    assert export.main(["resnet18", "--random-weights", "-o", str(tmp_path / "o.onnx")]) == 1
    assert "differs from torch by 9.1e-02" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_int8_comes_with_the_same_command(torch, tmp_path, small_images, capsys):
    path, folder = tmp_path / "own.onnx", images_in(tmp_path / "good", small_images)
    torch.manual_seed(0)
    arguments = ["resnet18", "--random-weights", "--int8", "--images", str(folder), "-o", str(path)]
    assert export.main(arguments) == 0
    assert "own-int8.onnx" in capsys.readouterr().out
    integer = tmp_path / "own-int8.onnx"
    assert integer.stat().st_size < 0.3 * path.stat().st_size
    model = CFA(recipe="whitened", backbone=integer, n_centers=4, threads=1).fit(small_images)
    assert model.inspect(small_images[0]).verdict in ("OK", "NG", "UNSURE")


def test_list_shows_what_can_be_an_output(torch, tmp_path, capsys):
    (tmp_path / "o.onnx").write_text("of an earlier export")
    assert export.main(["resnet18", "--list", "-o", str(tmp_path / "o.onnx")]) == 0
    assert "layer1.0: 64 channels, stride 4" in capsys.readouterr().out
    assert (tmp_path / "o.onnx").read_text() == "of an earlier export"


def test_timm_tells_mean_and_std_by_the_tag(torch):
    network = importlib.import_module("_network").Network
    assert network("vit_tiny_patch16_224.augreg_in21k_ft_in1k").mean == (127.5,) * 3
    assert network("resnet18", "timm").mean == pytest.approx((123.675, 116.28, 103.53))
    assert network("resnet18").library == "torchvision"
