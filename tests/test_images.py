import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cfa_lite import ImageError
from cfa_lite.features import images


@pytest.fixture
def photo(rng):
    return rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)


def pixels(image, size=(48, 64)):
    return images.to_pixels(images.read(image), size)


def test_every_kind_of_source_gives_the_same_pixels(photo, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    expected = photo.transpose(2, 0, 1).astype(np.float32)
    content = path.read_bytes()
    blue_green_red = photo[:, :, ::-1].copy()
    for image in (
        path, str(path), Image.open(path), photo, np.dstack([photo, photo[:, :, :1]]), content, io.BytesIO(content),
        blue_green_red[:, :, ::-1],
    ):  # fmt: skip
        assert images.size_of(image) == images.read(image).size_px == (48, 64)
        np.testing.assert_array_equal(pixels(image), expected)


class Stream:
    """A stream that can be read once and cannot seek, such as a pipe."""

    def __init__(self, content):
        self._content = io.BytesIO(content)

    def read(self, n=-1):
        return self._content.read(n)


def test_file_objects_keep_their_position_and_streams_are_buffered(photo, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    with path.open("rb") as file:
        file.seek(7)
        assert images.size_of(file) == (48, 64)
        np.testing.assert_array_equal(pixels(file), pixels(photo))
        assert file.tell() == 7
        assert images.name_of(file, 3) == str(path)
    with pytest.raises(ImageError, match="image 2 cannot be read"):
        images.read(file, "image 2")  # closed
    content = images.buffered(Stream(path.read_bytes()))
    assert images.size_of(content) == (48, 64)
    np.testing.assert_array_equal(pixels(content), pixels(photo))
    assert images.buffered(photo) is photo and images.buffered(path) is path
    with path.open(encoding="latin-1") as file, pytest.raises(TypeError, match=r"image 0 is a file .* mode 'rb'"):
        images.read(file, "image 0")
    with pytest.raises(ImageError, match="image 1 cannot be read"):
        images.size_of(b"no image", "image 1")


def test_names_for_messages(photo, tmp_path):
    assert images.name_of(tmp_path / "a.png", 0) == str(tmp_path / "a.png")
    assert [images.name_of(image, 4) for image in (photo, b"", io.BytesIO(), Image.fromarray(photo))] == ["image 4"] * 4
    unnamed = io.BytesIO()
    unnamed.name = 3  # a temporary file's descriptor
    assert images.name_of(unnamed, 5) == "image 5"


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "CMYK"])
def test_modes_are_converted_as_by_pillow(photo, mode):
    image = Image.fromarray(photo).convert(mode)
    expected = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)
    np.testing.assert_allclose(pixels(image), expected, atol=1e-6)


def test_gray_arrays_fill_three_channels(photo):
    gray = photo[:, :, 0]
    for image in (gray, gray[:, :, None]):
        np.testing.assert_array_equal(pixels(image), np.stack([gray] * 3).astype(np.float32))


def test_sixteen_bits_are_neither_clipped_nor_rounded(tmp_path):
    ramp = np.linspace(0, 65535, 48 * 64).round().reshape(48, 64).astype(np.uint16)
    expected = np.stack([ramp.astype(np.float32) / 257] * 3)
    for name in ("ramp.png", "ramp.tiff"):
        Image.fromarray(ramp).save(tmp_path / name)
        np.testing.assert_allclose(pixels(tmp_path / name), expected, rtol=1e-6)
    np.testing.assert_allclose(pixels(ramp), expected, rtol=1e-6)
    color = np.dstack([ramp, ramp[::-1], ramp // 2])
    np.testing.assert_allclose(pixels(color), color.transpose(2, 0, 1) / np.float32(257), rtol=1e-6)


def test_big_endian_and_32_bit_files_of_16_bit_values_are_the_same(tmp_path):
    """Some programs store 16-bit images as 32 bit."""
    ramp = np.linspace(0, 65535, 48 * 64).round().reshape(48, 64).astype(np.uint16)
    expected = pixels(ramp)
    big = Image.frombytes("I;16B", (64, 48), ramp.astype(">u2").tobytes())
    big.save(tmp_path / "big.tiff")
    assert (tmp_path / "big.tiff").read_bytes()[:2] in (b"MM", b"II")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "wide.tiff")
    for image in (big, tmp_path / "big.tiff", tmp_path / "wide.tiff"):
        np.testing.assert_allclose(pixels(image), expected, rtol=1e-6)
    for order in "<>":
        np.testing.assert_array_equal(pixels(ramp.astype(f"{order}u2")), expected)


def test_bool_arrays_are_black_and_white(photo):
    mask = photo[:, :, 0] > 100
    np.testing.assert_array_equal(pixels(mask), pixels(Image.fromarray(mask)))
    assert np.unique(pixels(mask)).tolist() == [0, 255]
    ranged = images.to_pixels(images.read(mask, "a", (0, 510)), (48, 64))
    assert np.unique(ranged).tolist() == [0, 127.5]


def test_value_range_maps_to_black_and_white(photo, tmp_path):
    deep = np.linspace(100, 4195, 48 * 64).reshape(48, 64)
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "deep.tiff")
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "whole.tiff")
    for image, off in (
        (tmp_path / "deep.tiff", 1e-3), (deep.astype(np.float32), 1e-3), (tmp_path / "whole.tiff", 0.07),
        (deep.astype(np.uint16), 0.07), (deep, 1e-3), (deep.astype(">f8"), 1e-3), (deep.astype(np.float16), 0.13),
        (deep.astype(">i4"), 0.07),
    ):  # fmt: skip
        found = images.to_pixels(images.read(image, "a", (100, 4195)), (48, 64))
        np.testing.assert_allclose(found[0], np.linspace(0, 255, 48 * 64).reshape(48, 64), atol=off)
        np.testing.assert_array_equal(found[1], found[0])
    beyond = images.to_pixels(images.read(deep.astype(np.float32), "a", (100, 2147.5)), (48, 64))
    assert beyond.max() == pytest.approx(510, abs=0.1)  # not clipped
    half = images.to_pixels(images.read(photo, "a", (0, 127.5)), (48, 64))
    np.testing.assert_allclose(half, 2 * photo.transpose(2, 0, 1).astype(np.float32), rtol=1e-6)
    low, high = images.value_range_of([(deep.astype(np.float32), "a"), (photo, "b"), (tmp_path / "gone.png", "c")])
    assert (low, high) == (photo.min(), 4195)
    with pytest.raises(ImageError, match="two different values"):
        images.value_range_of([(np.full((64, 64), 7, np.uint8), "a")])


def test_values_without_a_known_range_are_refused(tmp_path):
    values = np.linspace(-1, 1, 48 * 64, dtype=np.float32).reshape(48, 64)
    Image.fromarray(values).save(tmp_path / "float.tiff")
    Image.fromarray((values * 1e6).astype(np.int32)).save(tmp_path / "wide.tiff")
    floats = r"float(16|32|64) values; tell .*: CFA\(value_range=\(0, 1\)\), or `fit --value-range 0,1`\.$"
    whole = r"int32 values; tell .*: CFA\(value_range=\(0, 4095\)\), or `fit --value-range 0,4095`\.$"
    gray = r"float32 values; tell .*: CFA\(value_range=\(0, 255\)\), or `fit --value-range 0,255`\.$"
    wide = r"int32 values; tell .*: CFA\(value_range=\(0, HIGHEST\)\), or `fit --value-range 0,HIGHEST`\.$"
    for image, words in (
        (tmp_path / "float.tiff", floats), (values, floats), (values.astype(np.float64), floats),
        (values.astype(">f2"), floats), (tmp_path / "wide.tiff", wide), (np.zeros((48, 64), np.int32), whole),
        (values * 200, gray),
    ):  # fmt: skip
        with pytest.raises(ImageError, match="^image 0 has " + words):
            images.read(image, "image 0")
    values[3, 4] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        images.read(values, "a", (-1, 1))


def test_first_of_several_pages_is_read(photo, tmp_path):
    first = Image.fromarray(photo)
    first.save(tmp_path / "pages.tiff", save_all=True, append_images=[first.rotate(180)] * 2)
    np.testing.assert_array_equal(pixels(tmp_path / "pages.tiff"), pixels(photo))
    assert images.read(tmp_path / "pages.tiff").n_pages == 3
    assert images.read(photo).n_pages == 1


def test_a_file_with_16_bit_colors_is_marked(tmp_path, photo):
    """Pillow reads the upper 8 bits of such a file."""
    deep = (photo.astype(">u2") * 257).tobytes()
    rows = b"".join(b"\0" + deep[i : i + 64 * 6] for i in range(0, len(deep), 64 * 6))
    head = struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    png = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    for source in (tmp_path / "deep.png", (tmp_path / "deep.png").read_bytes()):
        assert images.read(source).is_depth_cut is True
        np.testing.assert_array_equal(pixels(source), pixels(photo))
    assert images.read(photo).is_depth_cut is False


def test_exif_orientation_is_applied(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "turned.png", exif=exif)
    assert images.size_of(tmp_path / "turned.png") == (64, 48)
    expected = np.rot90(photo, -1).transpose(2, 0, 1).astype(np.float32)
    np.testing.assert_array_equal(pixels(tmp_path / "turned.png", (64, 48)), expected)


def test_halving_equals_resizing_by_two(rng):
    """Smooth images, in which edges have little effect but a shift by a pixel is visible."""
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


@pytest.mark.parametrize("name, words", [("missing", "missing does not exist"), ("empty", "empty contains no image")])
def test_find_images_explains_errors(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=words):
        images.find_images([tmp_path / name])


def damaged(tmp_path, photo):
    """Return files that are not images, and the message of each."""
    whole = tmp_path / "whole.jpg"
    Image.fromarray(photo).resize((300, 200)).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "none.png").write_bytes(b"")
    Image.fromarray(photo[:20]).save(tmp_path / "tiny.png")
    Image.fromarray(photo[:, :, 0].astype(np.float32)).save(tmp_path / "float.tiff")
    Image.fromarray(photo[:, :, 0].astype(np.int32) * 1000).save(tmp_path / "wide.tiff")
    return {
        "cut.jpg": "cannot be read as an image", "text.png": "cannot be read as an image",
        "none.png": "cannot be read as an image", "gone.png": "does not exist",
        "tiny.png": "is 64x20 px; at least 32x32", "float.tiff": "has float32 values", "wide.tiff": "has int32 values",
    }  # fmt: skip


def test_damaged_images_are_named(tmp_path, photo):
    for name, words in damaged(tmp_path, photo).items():
        path = tmp_path / name
        with pytest.raises(ImageError, match=words) as raised:
            images.read(path, os.fspath(path))
        assert name in str(raised.value)


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        (3, TypeError, "thing has type int; give a path"),
        (np.full((48, 64), 300, np.uint32), TypeError, r'thing is an array of uint32; .* array.astype\("uint16"\) if'),
        (np.zeros((48, 64), np.int64), TypeError, r'int64; .*"uint8"\) if white is 255, or .*"uint16"\) if'),
        (np.full((48, 64), -1, np.int16), TypeError, r'int16; .*astype\("float32"\) and set value_range'),
        (np.zeros((48, 64), complex), TypeError, "complex128; give uint8"),
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
def test_size_of_equals_the_size_of_the_read_image(photo, tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(photo).save(path, exif=exif)
    h, w = images.read(path).size_px
    assert images.size_of(path) == images.size_of(Image.open(path)) == (h, w)
    assert (h, w) == ((64, 48) if orientation > 4 else (48, 64))


def test_damaged_pil_image_raises_image_error(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="image 3 cannot be read"):
        images.read(Image.open(tmp_path / "cut.png"), "image 3")


def test_formats_that_start_other_programs_are_not_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match=r"a\.png cannot be read as an image"):
        images.read(tmp_path / "a.png", "a.png")
