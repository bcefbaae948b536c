import os

import numpy as np
import pytest
from PIL import Image

from cfa_lite import ImageError
from cfa_lite.features import images


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)


def pixels(image, size=(48, 64)):
    return images.to_pixels(images.read(image), size)


def test_path_pil_and_array_are_the_same_pixels(picture, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    expected = picture.transpose(2, 0, 1).astype(np.float32)
    for image in (path, str(path), Image.open(path), picture, np.dstack([picture, picture[:, :, :1]])):
        np.testing.assert_array_equal(pixels(image), expected)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "CMYK"])
def test_modes_become_what_pillow_shows(picture, mode):
    image = Image.fromarray(picture).convert(mode)
    expected = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)
    np.testing.assert_allclose(pixels(image), expected, atol=1e-6)


def test_grey_arrays_fill_three_channels(picture):
    grey = picture[:, :, 0]
    for image in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(pixels(image), np.stack([grey] * 3).astype(np.float32))


def test_sixteen_bits_are_neither_clipped_nor_rounded(tmp_path):
    ramp = np.linspace(0, 65535, 48 * 64).round().reshape(48, 64).astype(np.uint16)
    expected = np.stack([ramp.astype(np.float32) / 257] * 3)
    for name in ("ramp.png", "ramp.tiff"):
        Image.fromarray(ramp).save(tmp_path / name)
        np.testing.assert_allclose(pixels(tmp_path / name), expected, rtol=1e-6)
    np.testing.assert_allclose(pixels(ramp), expected, rtol=1e-6)
    colour = np.dstack([ramp, ramp[::-1], ramp // 2])
    np.testing.assert_allclose(pixels(colour), colour.transpose(2, 0, 1) / np.float32(257), rtol=1e-6)


def test_big_endian_and_32_bit_files_of_16_bit_values_are_the_same(tmp_path):
    ramp = np.linspace(0, 65535, 48 * 64).round().reshape(48, 64).astype(np.uint16)
    expected = pixels(ramp)
    big = Image.frombytes("I;16B", (64, 48), ramp.astype(">u2").tobytes())
    big.save(tmp_path / "big.tiff")
    assert (tmp_path / "big.tiff").read_bytes()[:2] in (b"MM", b"II")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "wide.tiff")
    for image in (big, tmp_path / "big.tiff", tmp_path / "wide.tiff", ramp.astype(np.int32)):
        np.testing.assert_allclose(pixels(image), expected, rtol=1e-6)


def test_a_range_says_what_is_black_and_white(picture, tmp_path):
    deep = np.linspace(100, 4195, 48 * 64).reshape(48, 64)
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "deep.tiff")
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "whole.tiff")
    for image, off in (
        (tmp_path / "deep.tiff", 1e-3), (deep.astype(np.float32), 1e-3), (tmp_path / "whole.tiff", 0.07),
        (deep.astype(np.uint16), 0.07),
    ):  # fmt: skip
        found = images.to_pixels(images.read(image, "a", (100, 4195)), (48, 64))
        np.testing.assert_allclose(found[0], np.linspace(0, 255, 48 * 64).reshape(48, 64), atol=off)
        np.testing.assert_array_equal(found[1], found[0])
    beyond = images.to_pixels(images.read(deep.astype(np.float32), "a", (100, 2147.5)), (48, 64))
    assert beyond.max() == pytest.approx(510, abs=0.1)  # not clipped
    half = images.to_pixels(images.read(picture, "a", (0, 127.5)), (48, 64))
    np.testing.assert_allclose(half, 2 * picture.transpose(2, 0, 1).astype(np.float32), rtol=1e-6)
    low, high = images.value_range_of([(deep.astype(np.float32), "a"), (picture, "b"), (tmp_path / "gone.png", "c")])
    assert (low, high) == (picture.min(), 4195)
    with pytest.raises(ImageError, match="no two values"):
        images.value_range_of([(np.full((64, 64), 7, np.uint8), "a")])


def test_what_has_no_known_range_is_refused(tmp_path):
    values = np.linspace(-1, 1, 48 * 64, dtype=np.float32).reshape(48, 64)
    Image.fromarray(values).save(tmp_path / "float.tiff")
    Image.fromarray((values * 1e6).astype(np.int32)).save(tmp_path / "wide.tiff")
    for image in (tmp_path / "float.tiff", tmp_path / "wide.tiff", values):
        with pytest.raises(ImageError, match="no rule brings to 0 to 255.*--range LOW,HIGH"):
            images.read(image)
    values[3, 4] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        images.read(values, "a", (-1, 1))


def test_of_several_pages_the_first_is_taken(picture, tmp_path):
    first = Image.fromarray(picture)
    first.save(tmp_path / "pages.tiff", save_all=True, append_images=[first.rotate(180)] * 2)
    np.testing.assert_array_equal(pixels(tmp_path / "pages.tiff"), pixels(picture))
    assert images.read(tmp_path / "pages.tiff")[0].info[images.PAGES] == 3


def test_exif_orientation_turns_the_image(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    assert images.size_of(tmp_path / "turned.png") == (64, 48)
    expected = np.rot90(picture, -1).transpose(2, 0, 1).astype(np.float32)
    np.testing.assert_array_equal(pixels(tmp_path / "turned.png", (64, 48)), expected)


def test_halving_is_the_resize_by_two(rng):
    """Soft images, so that edges count little and a shift by a pixel would show."""
    soft = Image.fromarray(rng.integers(0, 256, (6, 9)).astype(np.uint8)).resize((96, 64), Image.Resampling.BICUBIC)
    expected = np.asarray(soft.convert("F").resize((48, 32), Image.Resampling.BILINEAR))
    halved = images.halve(images.to_pixels(images.read(soft), (64, 96)))
    np.testing.assert_allclose(halved[0, 1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-3)
    np.testing.assert_allclose(halved[0], expected, atol=2)  # Pillow leaves out what is beyond the edge


@pytest.mark.parametrize(
    "size, scale, unit, expected",
    [((256, 256), 1, 32, (256, 256)), ((256, 4096), 0.25, 32, (64, 1024)), ((288, 384), 0.77, 32, (224, 288)),
     ((40, 900), 0.2, 32, (32, 192))],
)  # fmt: skip
def test_working_size_keeps_proportions(size, scale, unit, expected):
    assert images.working_size(size, scale, unit) == expected


def test_find_images(tmp_path):
    for name in ("b/2.PNG", "b/10.jpg", "a/x.tif", ".hidden/1.png", "b/.2.png", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = images.find_images([tmp_path, tmp_path / "b"])
    assert [p.relative.as_posix() for p in found] == ["a/x.tif", "b/10.jpg", "b/2.PNG"]
    assert images.find_images([tmp_path / "b" / "notes.txt"])[0].path.name == "notes.txt"


@pytest.mark.parametrize("name, words", [("missing", "missing does not exist"), ("empty", "empty holds no image")])
def test_find_images_says_what_is_wrong(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=words):
        images.find_images([tmp_path / name])


def damaged(tmp_path, picture):
    """Files that are no images, and what their message says."""
    whole = tmp_path / "whole.jpg"
    Image.fromarray(picture).resize((300, 200)).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "none.png").write_bytes(b"")
    Image.fromarray(picture[:20]).save(tmp_path / "tiny.png")
    Image.fromarray(picture[:, :, 0].astype(np.float32)).save(tmp_path / "float.tiff")
    Image.fromarray(picture[:, :, 0].astype(np.int32) * 1000).save(tmp_path / "wide.tiff")
    return {
        "cut.jpg": "cannot be read as an image", "text.png": "cannot be read as an image",
        "none.png": "cannot be read as an image", "gone.png": "does not exist",
        "tiny.png": "is 64x20 px; at least 32x32", "float.tiff": "no rule brings to 0 to 255", "wide.tiff": "no rule brings to 0 to 255",
    }  # fmt: skip


def test_damaged_images_are_named(tmp_path, picture):
    for name, words in damaged(tmp_path, picture).items():
        path = tmp_path / name
        with pytest.raises(ImageError, match=words) as raised:
            images.read(path, os.fspath(path))
        assert name in str(raised.value)


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        (3, TypeError, "thing is a int"),
        (np.zeros((48, 64)), TypeError, "float64"),
        (np.zeros((48, 64, 2), np.uint8), ValueError, r"\(48, 64, 2\)"),
        (np.zeros((2, 48, 64, 3), np.uint8), ValueError, r"\(2, 48, 64, 3\)"),
        (np.zeros((0, 64), np.uint8), ValueError, r"\(0, 64\)"),
    ],
)
def test_other_objects_are_refused(wrong, error, words):
    with pytest.raises(error, match=words):
        images.read(wrong, "thing")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tiff", "jpg", "webp"])
def test_size_is_that_of_what_is_read(picture, tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(picture).save(path, exif=exif)
    w, h = images.read(path)[0].size
    assert images.size_of(path) == images.size_of(Image.open(path)) == (h, w)
    assert (h, w) == ((64, 48) if orientation > 4 else (48, 64))


def test_a_damaged_image_that_was_opened_and_not_read(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="image 3 cannot be read"):
        images.read(Image.open(tmp_path / "cut.png"), "image 3")


def test_formats_that_start_other_programs_are_not_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="a.png cannot be read as an image"):
        images.read(tmp_path / "a.png", "a.png")
