"""A value range that does not cover the good images is refused, with one that does."""

import numpy as np
import pytest
import tiny_backbone
from PIL import Image
from test_cli import run

from cfa_lite import CFA, ImageError, PublishedCFA, load
from cfa_lite.training.value_range import Coverage, check, covering

SETTINGS = ("--recipe", "whitened", "--n-centers", 4, "--threads", 1)


@pytest.fixture
def own(tmp_path):
    tiny_backbone.write(tmp_path / "own.onnx")
    return tmp_path / "own.onnx"


def twelve_bits(rng, n=4):
    """Soft images of shape (n, 64, 96) with values of 12 bits."""
    coarse = rng.uniform(400, 3800, (n, 8, 12)).astype(np.float32)
    soft = [np.asarray(Image.fromarray(c).resize((96, 64), Image.Resampling.BICUBIC)) for c in coarse]
    return np.clip(soft, 0, 4095).astype(np.uint16)


def pgm(values, path):
    h, w = values.shape
    path.write_bytes(b"P5\n%d %d\n4095\n" % (w, h) + values.astype(">u2").tobytes())


def upper_bits(values, path):
    Image.fromarray(values << 4).save(path)


def lower_bits(values, path):
    Image.fromarray(values).save(path)


def as_float(values, path):
    Image.fromarray(values.astype(np.float32)).save(path)


@pytest.mark.parametrize(
    "write, ending, given, right",
    [
        (pgm, "pgm", "0,4095", "0,65535"), (upper_bits, "tif", "0,4095", "0,65535"),
        (upper_bits, "png", "0,4095", "0,65535"), (lower_bits, "tif", "0,1023", "0,4095"),
        (lower_bits, "tif", "2000,4095", "0,4095"), (as_float, "tif", "0,1", "0,4095"),
    ],
)  # fmt: skip
def test_fit_refuses_it_and_the_range_that_it_names_works(rng, own, tmp_path, write, ending, given, right):
    (tmp_path / "good").mkdir()
    for i, values in enumerate(twelve_bits(rng)):
        write(values, tmp_path / "good" / f"{i}.{ending}")
    fit = ("fit", tmp_path / "good", "-o", tmp_path / "p.cfa", "--backbone", own, *SETTINGS)
    refused = run(*fit, "--range", given)
    assert refused.exit_code == 1 and not (tmp_path / "p.cfa").exists()
    assert f"The value range {given} does not cover the good images" in refused.stderr
    assert f"Use the value range {right}, or auto." in refused.stderr
    assert ("PGM" in refused.stderr) == (right == "0,65535")
    done = run(*fit, "--range", right)
    assert done.exit_code == 0, done.output
    verdicts = {result.verdict for result in load(tmp_path / "p.cfa").inspect_many(tmp_path / "good")}
    assert not verdicts & {"INVALID", "ERROR"}


def test_ranges_that_cover_the_images_are_taken(rng, own):
    values = twelve_bits(rng)
    for value_range in ((0, 4095), (0, 65535), (float(values.min()), float(values.max())), "auto"):
        model = CFA("whitened", backbone=own, n_centers=4, threads=1, value_range=value_range).fit(list(values))
        assert model.info()["training"]["n_images"] == 4


@pytest.mark.parametrize("cls", [CFA, PublishedCFA])
def test_both_estimators_refuse_it(rng, own, cls):
    with pytest.raises(
        ImageError, match=r"range 0,255 does not cover .* in image \d\), and \d+\.\d% of .* 0,4095, or auto"
    ):
        cls(backbone=own, threads=1, value_range=(0, 255)).fit(list(twelve_bits(rng)))


def test_single_hot_pixels_are_a_remark_at_most(rng, own, tmp_path):
    values = twelve_bits(rng)
    values[1, 20:23, 30:33] = 65535  # 9 of 24576 pixels
    (tmp_path / "good").mkdir()
    for i, image in enumerate(values):
        lower_bits(image, tmp_path / "good" / f"{i}.tif")
    done = run("fit", tmp_path / "good", "-o", tmp_path / "p.cfa", "--backbone", own, *SETTINGS, "--range", "0,4095")
    assert done.exit_code == 0, done.output
    assert "lie above the value range" in done.stderr and "the range to 4095" in done.stderr


def test_the_limit_is_a_share_of_all_pixels():
    inside, outside = Coverage(0, 4095, 0.0), Coverage(0, 5000, 0.02)
    check({"a": inside, "b": inside, "c": inside, "d": inside, "odd": outside}, (0, 4095))  # 0.4%
    with pytest.raises(ImageError, match=r"5000 \(the highest in odd\), and 0\.7% of .* range 0,16383, or auto"):
        check({"a": inside, "b": inside, "odd": outside}, (0, 4095))


@pytest.mark.parametrize(
    "values, expected",
    [((0, 0.9), (0, 1)), ((3, 250), (0, 255)), ((0, 4095.01), (0, 4095)), ((0, 4200), (0, 16383)),
     ((0, 65535.3), (0, 65535)), ((-5.0, 9.0), (-5.0, 9.0)), ((0, 70000.0), (0, 70000.0))],
)  # fmt: skip
def test_the_range_that_is_named_covers_the_values(values, expected):
    assert covering(*values) == expected
