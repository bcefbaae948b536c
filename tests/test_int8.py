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


def test_int8_file_is_less_than_a_third_of_the_float_file(lite0, int8):
    assert int8.spec.path.stat().st_size < lite0.spec.path.stat().st_size / 3


@pytest.mark.parametrize("kind", ["cloth", "noise", "dark", "discs"])
def test_int8_maps_are_close_to_float_maps(lite0, int8, kind):
    """The errors are 0.03 to 0.08. With the networks of onnxruntime.quantization they are 0.11 to 0.18."""
    for pixels in images_of(kind):
        for found, expected in zip(int8.maps(pixels), lite0.maps(pixels)):
            assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


def test_every_int8_channel_correlates_with_its_float_channel(lite0, int8):
    """Each channel correlates with that of the float network, and its mean over an image does not drift."""
    for pixels in images_of("cloth"):
        for found, expected in zip(int8.maps(pixels), lite0.maps(pixels)):
            for q, f in zip(found, expected):
                assert np.corrcoef(q.ravel(), f.ravel())[0, 1] > 0.95
                assert abs(q.mean() - f.mean()) < 0.2 * f.std()


def test_maps_do_not_depend_on_threads(int8, rng):
    pixels = rng.uniform(0, 255, (3, 96, 64)).astype(np.float32)
    for one, two in zip(int8.maps(pixels, 1), int8.maps(pixels, 2)):
        np.testing.assert_array_equal(one, two)


def test_pixels_between_gray_levels_are_not_rounded(int8):
    """The first layers are float32, so half a gray level, which cameras of more than 8 bits resolve, has an effect."""
    flat = np.full((3, 64, 64), 100.0, np.float32)
    half = flat.copy()
    half[:, :, 32:] += 0.5
    assert any((a != b).any() for a, b in zip(int8.maps(flat), int8.maps(half)))


def test_int8_model_finds_a_spot_and_refuses_the_float_network(small_images, tmp_path):
    model = CFA(backbone="lite0-int8", n_centers=16, threads=1).fit(small_images)
    stained = small_images[0].copy()
    stained[24:40, 40:56] = 255 - stained[24:40, 40:56]
    good, bad = model.inspect(small_images[0]), model.inspect(stained)
    assert bad.score > 1.2 * good.score
    peak = np.array(np.unravel_index(bad.map.argmax(), bad.map.shape)) / bad.map.shape * stained.shape[:2]
    assert np.abs(peak - (32, 48)).max() < 16
    model.save(tmp_path / "part.cfa")
    assert load(tmp_path / "part.cfa").inspect(stained).raw_score == bad.raw_score
    with pytest.raises(BackboneError, match="fitted with"):
        load(tmp_path / "part.cfa", backbone="lite0")
