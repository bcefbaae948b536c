"""Arrays of every kind are taken, or the message tells a Python user what to do. Docstrings tell the channel order."""

import numpy as np
import pytest

import cfa_lite
from cfa_lite import CFA


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(3)
    return CFA("whitened", n_centers=4, size=64).fit(list(rng.integers(60, 200, (8, 64, 64, 3)).astype(np.uint8)))


def test_every_byte_order_and_bool_are_taken(fitted):
    image = np.random.default_rng(4).integers(60, 200, (64, 64, 3)).astype(np.uint8)
    deep = image.astype(np.uint16) * 257
    scores = [fitted.inspect(deep.astype(dtype)).score for dtype in ("<u2", ">u2", "=u2")]
    assert scores[0] == scores[1] == scores[2] == pytest.approx(fitted.inspect(image).score, rel=1e-4)
    flags = image[:, :, 0] > 128
    assert fitted.inspect(flags).score == fitted.inspect(flags.astype(np.uint8) * 255).score


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "i4"])
def test_other_dtypes_are_taken_with_a_range_and_named_without(fitted, dtype):
    image = np.random.default_rng(5).integers(60, 200, (8, 64, 64, 3))
    with_range = CFA("whitened", n_centers=4, size=64, value_range=(0, 255)).fit(list(image.astype(dtype)))
    assert with_range.inspect(image[0].astype(dtype)).status == "ok"
    with pytest.raises(cfa_lite.ImageError) as caught:
        fitted.inspect(image[0].astype(dtype))
    assert "tell which values are black and white: CFA(value_range=(0, " in str(caught.value)


@pytest.mark.parametrize("dtype", ["i2", "u4", "i8", "c8", "U3"])
def test_unknown_dtypes_are_explained_without_options_of_the_command(fitted, dtype):
    with pytest.raises(TypeError, match="is an array of ") as caught:
        fitted.inspect(np.ones((64, 64), dtype))
    assert "--" not in str(caught.value)


def test_docstrings_tell_the_order_of_channels():
    for documented in (CFA, CFA.fit, CFA.inspect, CFA.inspect_many):
        assert "red, green, blue" in " ".join(documented.__doc__.split()), documented
