import numpy as np
import pytest

from cfa_lite import CFA, BackboneError, load
from cfa_lite.demo.cloth import weave
from cfa_lite.features.backbone import Backbone, find_spec
from cfa_lite.features.images import halve


@pytest.fixture(scope="module")
def lite0():
    return Backbone(find_spec("lite0"))


@pytest.fixture(scope="module")
def int8():
    return Backbone(find_spec("lite0-int8"))


def images_of(kind):
    rng = np.random.default_rng(11)
    if kind == "cloth":
        pixels = weave(rng, (192, 256)).transpose(2, 0, 1).astype(np.float32)
    elif kind == "noise":
        pixels = rng.uniform(0, 255, (3, 160, 224)).astype(np.float32)
    elif kind == "dark":
        pixels = rng.uniform(0, 25, (3, 160, 224)).astype(np.float32)
    else:
        y, x = np.mgrid[:160, :224]
        pixels = np.stack([np.hypot(y - 80, x - 100) < r for r in (40, 50, 60)]).astype(np.float32) * 200 + 20
    return [pixels, halve(pixels)]


@pytest.mark.parametrize("h, w", [(64, 64), (75, 101), (256, 96)])
def test_maps_have_the_shapes_of_the_manifest(int8, rng, h, w):
    maps = int8.maps(rng.uniform(0, 255, (3, h, w)).astype(np.float32))
    assert [m.shape for m in maps] == [(c, -(-h // s), -(-w // s)) for c, s in ((24, 4), (40, 8), (112, 16))]
    assert {m.dtype for m in maps} == {np.dtype(np.float32)}


def test_it_takes_less_than_a_third_of_the_room(lite0, int8):
    assert int8.spec.path.stat().st_size < lite0.spec.path.stat().st_size / 3


@pytest.mark.parametrize("kind", ["cloth", "noise", "dark", "discs"])
def test_maps_are_near_those_of_float(lite0, int8, kind):
    """.03 to .08 here, .11 to .18 with what onnxruntime.quantization makes."""
    for pixels in images_of(kind):
        for found, expected in zip(int8.maps(pixels), lite0.maps(pixels)):
            assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


def test_no_channel_is_lost(lite0, int8):
    """Channels correlate with float's one by one, and their means over an image do not drift."""
    for pixels in images_of("cloth"):
        for found, expected in zip(int8.maps(pixels), lite0.maps(pixels)):
            for q, f in zip(found, expected):
                assert np.corrcoef(q.ravel(), f.ravel())[0, 1] > 0.95
                assert abs(q.mean() - f.mean()) < 0.2 * f.std()


def test_maps_do_not_depend_on_threads(int8, rng):
    pixels = rng.uniform(0, 255, (3, 96, 64)).astype(np.float32)
    for one, two in zip(int8.maps(pixels, 1), int8.maps(pixels, 2)):
        np.testing.assert_array_equal(one, two)


def test_pixels_between_grey_levels_count(int8):
    """The first layers are in float: half a grey level, which cameras of more than 8 bits tell, is not rounded off."""
    flat = np.full((3, 64, 64), 100.0, np.float32)
    half = flat.copy()
    half[:, :, 32:] += 0.5
    assert any((a != b).any() for a, b in zip(int8.maps(flat), int8.maps(half)))


def test_a_model_of_it_finds_a_spot_and_refuses_float(small_images, tmp_path):
    model = CFA(backbone="lite0-int8", n_centers=16, threads=1).fit(small_images)
    spoilt = small_images[0].copy()
    spoilt[24:40, 40:56] = 255 - spoilt[24:40, 40:56]
    good, bad = model.inspect(small_images[0]), model.inspect(spoilt)
    assert bad.score > 1.2 * good.score
    peak = np.array(np.unravel_index(bad.map.argmax(), bad.map.shape)) / bad.map.shape * spoilt.shape[:2]
    assert np.abs(peak - (32, 48)).max() < 16
    model.save(tmp_path / "part.cfa")
    assert load(tmp_path / "part.cfa").inspect(spoilt).raw_score == bad.raw_score
    with pytest.raises(BackboneError, match="fitted with"):
        load(tmp_path / "part.cfa", backbone="lite0")
