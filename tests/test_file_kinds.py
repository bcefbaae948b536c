"""Kinds of image files: each is read as by an independent reader, or refused with the reason; never read wrongly."""

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image, features

from cfa_lite import ImageError
from cfa_lite.features import images

tifffile = pytest.importorskip("tifffile", reason="reads TIFF files independently of Pillow")
imagecodecs = pytest.importorskip("imagecodecs", reason="has the compressions of tifffile")

H, W = 80, 96
LOSSY = 3  # largest difference of two decoders of JPEG


def values_of(dtype, n_channels):
    """Return soft values of shape (H, W) or (H, W, n) that use the whole range of a dtype, negative ones too."""
    rng = np.random.default_rng(5)
    soft = np.cumsum(rng.normal(0, 1, (H, W, n_channels)), axis=0)
    soft = (soft - soft.min()) / (soft.max() - soft.min())
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        values = (soft * 100 - 20).astype(dtype)
    else:
        info = np.iinfo(dtype)
        values = (info.min + soft * (float(info.max) - info.min) * 0.999).astype(dtype)
    return values[:, :, 0] if n_channels == 1 else values


def variants():
    """Yield the arguments of `written` for every combination that tifffile can write."""
    kinds = [(1, "minisblack"), (1, "miniswhite"), (2, "minisblack"), (3, "rgb"), (4, "rgb"), (4, "separated")]
    for dtype, (n, photometric), order in itertools.product(
        ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"), kinds, "<>"
    ):
        for compression, predictor, tile in (
            (None, None, None), (None, None, (32, 48)), ("zlib", None, None), ("zlib", 2, (32, 48)), ("zlib", 3, None),
            ("lzw", None, None), ("lzw", 2, None), ("packbits", None, None), ("jpeg", None, None),
        ):  # fmt: skip
            if (predictor == 3) != (dtype[0] == "f" and predictor is not None) or (
                compression == "jpeg" and dtype != "u1"
            ):
                continue
            for planar in ("contig", "separate") if n > 1 else (None,):
                yield dtype, n, photometric, order, compression, predictor, tile, planar, False
                if compression is None and tile is None:
                    yield dtype, n, photometric, order, compression, predictor, tile, planar, True


def written(dtype, n, photometric, order, compression, predictor, tile, planar, is_big):
    """Return a TIFF file and its values as tifffile reads them, of shape (n, H, W); None if it cannot write it."""
    values = values_of(dtype, n)
    values = np.ascontiguousarray(np.moveaxis(values, 2, 0)) if planar == "separate" else values
    file = io.BytesIO()
    try:
        tifffile.imwrite(
            file, values, photometric=photometric, byteorder=order, compression=compression, predictor=predictor,
            tile=tile, planarconfig=planar, bigtiff=is_big, rowsperstrip=None if tile else 17,
            extrasamples=["unassalpha"] if n in (2, 4) and photometric != "separated" else None,
        )  # fmt: skip
        read = tifffile.imread(io.BytesIO(file.getvalue()))
    except (ValueError, TypeError, RuntimeError, NotImplementedError):  # a combination that does not exist
        return None
    if n > 1 and planar != "separate":
        read = np.moveaxis(read, 2, 0)
    return file.getvalue(), read if n > 1 else read[None]


def found_in(content, unit=1.0):
    """Return what `images.read` finds, as values of shape (n, h, w), and whether it says that depth was cut."""
    loaded = images.read(content, "a.tif", (0.0, 255.0 * unit))  # this range only divides values by the unit
    return np.stack([np.asarray(band) for band in loaded.bands]) * np.float64(unit), loaded.is_depth_cut


def check_equal(content, expected, photometric="", is_lossy=False):
    """Check that a file is read as `expected`, of shape (n, h, w), or refused. Return whether it is read."""
    try:
        found, is_depth_cut = found_in(content, 1 << 16 if expected.dtype.itemsize == 4 else 1)
    except ImageError as error:
        assert "a.tif" in str(error) and len(str(error)) > 40
        return False
    if photometric == "miniswhite":
        expected = np.iinfo(expected.dtype).max - expected  # refused for other than integers
    if photometric == "separated":
        inks = np.moveaxis(expected if expected.dtype == np.uint8 else (expected >> 8).astype(np.uint8), 0, 2)
        expected = np.moveaxis(np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")), 2, 0)
    expected = expected[: len(found)].astype(np.float64)  # a last channel of alpha is ignored
    tolerance = LOSSY if is_lossy else 1e-4 if np.abs(expected).max() < 1e6 else 1e-6 * np.abs(expected).max()
    if is_depth_cut:
        expected, tolerance = expected / 257 if expected.max() > 255 else expected, 1.01
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=tolerance)
    return True


VARIANTS = list(variants())
MUST_BE_READ = {("u1", 1), ("u1", 3), ("u2", 1), ("u2", 3), ("u2", 4), ("f4", 1)}  # dtype and number of channels
REFUSED = ("PlanarConfiguration 2", "in big-endian byte order")  # the only reasons to refuse these


def refused_because(content):
    with pytest.raises(ImageError) as raised:
        found_in(content)
    return str(raised.value)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_tiff_variants_are_read_as_by_tifffile_or_refused(dtype):
    n_read = n_refused = 0
    for variant in (variant for variant in VARIANTS if variant[0] == dtype):
        made = written(*variant)
        if made is None:
            continue
        _, n, photometric, _, compression, *_ = variant
        try:
            is_read = check_equal(*made, photometric, compression == "jpeg")
        except AssertionError as error:
            raise AssertionError(variant) from error
        n_read += is_read
        n_refused += not is_read
        if not is_read and (dtype, n) in MUST_BE_READ and photometric in ("minisblack", "rgb"):
            reason = refused_because(made[0])
            assert any(words in reason for words in REFUSED), (variant, reason)
    assert n_read + n_refused >= 40
    assert n_read >= {"u1": 100, "u2": 60, "f4": 9, "i2": 10, "i4": 10, "u4": 8}.get(dtype, 0)


def tiff(values, **settings):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **settings)
    return file.getvalue()


U8, U16 = values_of("u1", 3), values_of("u2", 3)
GRAY = values_of("u1", 1)
REFUSED_TIFFS = {  # what Pillow would read wrongly or not at all, and the reason that must be told
    "planar": (
        lambda: tiff(np.moveaxis(U16, 2, 0), photometric="rgb", planarconfig="separate"), "PlanarConfiguration 2"
    ),
    "planar gray and alpha": (
        lambda: tiff(np.moveaxis(U8[:, :, :2], 2, 0), photometric="minisblack", planarconfig="separate",
                     extrasamples=["unassalpha"], compression="zlib"),
        "PlanarConfiguration 2",
    ),
    "white is zero": (lambda: tiff(U16[:, :, 0], photometric="miniswhite"), "0 is white in its 16-bit values"),
    "swapped float": (
        lambda: tiff(values_of("f4", 1), photometric="minisblack", compression="zlib", byteorder=">"),
        "compressed 32-bit values in big-endian byte order",
    ),
    "signed 8": (lambda: tiff(values_of("i1", 1), photometric="minisblack"), "8-bit values are signed"),
    "float64": (lambda: tiff(values_of("f8", 1), photometric="minisblack"), "64-bit floating-point gray, 1 channel"),
    "float16": (lambda: tiff(values_of("f2", 1), photometric="minisblack"), "16-bit floating-point gray"),
    "complex": (lambda: tiff(values_of("f4", 1).astype("c8"), photometric="minisblack"), "64-bit complex gray"),
    "float color": (lambda: tiff(values_of("f4", 3), photometric="rgb"), "32-bit floating-point RGB, 3 channels"),
    "raw YCbCr": (lambda: tiff(U8, photometric="ycbcr"), "YCbCr colors without JPEG"),
    "packed YCbCr": (lambda: tiff(U8, photometric="ycbcr", compression="lzw"), "YCbCr colors without JPEG"),
    "Lab": (lambda: tiff(U8, photometric="cielab"), "CIE Lab"),
    "volume": (
        lambda: tiff(np.stack([GRAY] * 16), photometric="minisblack", volumetric=True, tile=(16, 16, 16)), "a volume"
    ),
    "inks": (
        lambda: tiff(values_of("u1", 4), photometric="separated", extratags=[(332, "H", 1, 2, True)]),
        "not the inks cyan, magenta, yellow and black",
    ),
    "premultiplied": (
        lambda: tiff(values_of("u1", 4), photometric="rgb", extrasamples=["assocalpha"]), "multiplied by alpha"
    ),
    "big-endian BigTIFF": (
        lambda: tiff(GRAY, photometric="minisblack", bigtiff=True, byteorder=">"), "BigTIFF in big-endian byte order"
    ),
    "JPEG 2000 in TIFF": (
        lambda: tiff(GRAY, photometric="minisblack", compression="jpeg2000"),
        "8-bit unsigned gray, 1 channel, compression",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_TIFFS)
def test_tiffs_that_would_be_read_wrongly_are_refused_with_the_reason(name):
    make, reason = REFUSED_TIFFS[name]
    content = make()
    assert reason in refused_because(content)
    if name in OPENED:
        with Image.open(io.BytesIO(content)) as opened, pytest.raises(ImageError, match="image 0 cannot be read as an"):
            images.read(opened, "image 0")
    else:
        with pytest.raises(OSError):
            Image.open(io.BytesIO(content))


# Those that Pillow opens: they are refused as PIL images, too.
OPENED = {
    "planar", "planar gray and alpha", "white is zero", "swapped float", "signed 8", "packed YCbCr", "raw YCbCr", "Lab",
    "volume", "inks", "premultiplied",
}  # fmt: skip


def test_opaque_premultiplied_colors_are_read():
    opaque = np.dstack([U8, np.full((H, W), 255, np.uint8)])
    content = tiff(opaque, photometric="rgb", extrasamples=["assocalpha"])
    assert check_equal(content, np.moveaxis(opaque, 2, 0))


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_ycbcr_of_jpeg_is_read(subsampling):
    content = tiff(U8, photometric="ycbcr", compression="jpeg", subsampling=subsampling)
    assert check_equal(content, np.moveaxis(tifffile.imread(io.BytesIO(content)), 2, 0), is_lossy=True)


def test_twelve_bits_in_a_tiff_are_read_or_refused():
    twelve = values_of("u2", 1) >> 4
    jpeg = tiff(twelve, photometric="minisblack", compression="jpeg", compressionargs={"bitspersample": 12})
    check_equal(jpeg, tifffile.imread(io.BytesIO(jpeg))[None])
    packed = np.packbits((twelve[:, :, None] >> np.arange(11, -1, -1)) & 1, axis=None).tobytes()
    entries = [(256, 3, W), (257, 3, H), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 146), (277, 3, 1),
               (278, 3, H), (279, 4, len(packed))]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    content = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    assert check_equal(content.ljust(146, b"\0") + packed, twelve[None])


def test_the_first_page_of_several_is_read_as_by_tifffile():
    content = tiff(np.stack([GRAY, 255 - GRAY]), photometric="minisblack")
    assert check_equal(content, GRAY[None]) and images.read(content).n_pages == 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "lzw", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_orientation_of_tiff_files(orientation, compression, mode):
    """tifffile does not apply it, so that its values are turned here."""
    if mode == "I;16" and compression == "jpeg":
        pytest.skip("there is no JPEG of 16 bits")
    values = {"L": GRAY, "RGB": U8, "I;16": U16[:, :, 0]}[mode]
    settings = {"photometric": "rgb" if mode == "RGB" else "minisblack", "compression": compression}
    content = tiff(values, **settings, extratags=[(274, "H", 1, orientation, True)])
    stored = tifffile.imread(io.BytesIO(content))
    turned = stored.swapaxes(0, 1) if orientation > 4 else stored
    turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    expected = turned[None] if turned.ndim == 2 else np.moveaxis(turned, 2, 0)
    assert check_equal(content, expected, is_lossy=compression == "jpeg")
    assert images.size_of(content) == turned.shape[:2]


def png_of(values):
    """Return a PNG file by imagecodecs; Pillow does not write colors of 16 bits."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))


@pytest.mark.parametrize("dtype, n", itertools.product(["u1", "u2"], [1, 2, 3, 4]))
def test_png_files_are_read_as_by_imagecodecs(dtype, n):
    values = values_of(dtype, n)
    content = png_of(values)
    read = imagecodecs.png_decode(content)
    expected = read[None] if n == 1 else np.moveaxis(read, 2, 0)
    if n == 2:
        expected = expected[[0, 0, 0]] if dtype == "u2" else expected[:1]  # gray and alpha
    assert check_equal(content, expected)
    assert images.read(content, "a", (0, 255)).is_depth_cut == (dtype == "u2" and n > 1)


@pytest.mark.parametrize("maximum", [1, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P5", b"P6"])
def test_pnm_files_fill_the_range(kind, maximum):
    values = (values_of("u2", 3) / 65535 * maximum).round().astype(">u2" if maximum > 255 else "u1")
    values = values if kind == b"P6" else values[:, :, 0]
    content = kind + b"\n%d %d\n%d\n" % (W, H, maximum) + values.tobytes()
    loaded = images.read(content)
    found = images.to_pixels(loaded, (H, W))
    expected = np.moveaxis(values, 2, 0) if kind == b"P6" else values[None]
    np.testing.assert_allclose(found[: len(expected)], expected / maximum * 255, atol=1)
    assert loaded.is_depth_cut == (kind == b"P6" and maximum > 255)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow does not read JPEG 2000")
@pytest.mark.parametrize("bits, n", [(8, 1), (8, 3), (12, 1), (16, 1)])
def test_jpeg_2000_files_are_read_as_by_imagecodecs(bits, n):
    values = values_of("u2", n) >> (16 - bits)
    values = values.astype(np.uint8) if bits == 8 else values
    content = bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=bits))
    read = imagecodecs.jpeg2k_decode(content)
    top = 255 if bits == 8 else 65535
    loaded = images.read(content, "a", (0, top))
    found = np.stack([np.asarray(band) for band in loaded.bands])
    expected = read[None] if n == 1 else np.moveaxis(read, 2, 0)
    np.testing.assert_allclose(found, expected / (2**bits - 1) * 255, atol=0.1)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow does not read JPEG 2000")
def test_signed_jpeg_2000_files_are_refused():
    content = bytes(imagecodecs.jpeg2k_encode(values_of("i2", 1), level=0, reversible=True))
    assert "its values are signed" in refused_because(content)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow does not read JPEG 2000")
@pytest.mark.parametrize("bits, n", [(12, 3), (16, 3), (16, 4)])
def test_jpeg_2000_colors_of_more_than_8_bits_are_refused(bits, n):
    """Pillow turns the brightest values black."""
    values = values_of("u2", n) >> (16 - bits)
    content = bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=bits))
    assert "JPEG 2000 colors of more than 8 bits" in refused_because(content)


@pytest.mark.parametrize("shape", ["gray", "color"])
def test_jpeg_files_of_12_bits_are_refused_with_the_reason(shape):
    values = values_of("u2", 1 if shape == "gray" else 3) >> 4
    reason = refused_because(bytes(imagecodecs.jpeg_encode(values, bitspersample=12)))
    assert "a.tif cannot be read as an image (JPEG: " in reason and "12-bit" in reason


def test_values_that_the_network_cannot_take_are_refused():
    far = values_of("f4", 1)
    far[3, 4] = 3e37
    with pytest.raises(ImageError, match="image 0 contains values far outside the value range 0,1"):
        images.read(far, "image 0", (0, 1))


def test_bmp_and_gif_colors_of_few_bits_are_not_marked_as_cut():
    """Pillow calls 5, 6 and 5 bits "BGR;16"."""
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    five = (U8[::-1] >> [3, 2, 3]).astype("<u2")
    pixels = (five[:, :, 0] << 11 | five[:, :, 1] << 5 | five[:, :, 2]).astype("<u2").tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, W, H, 1, 16, 3, len(pixels), 0, 0, 0, 0)
    content = b"BM" + struct.pack("<IHHI", 66 + len(pixels), 0, 0, 66) + head + masks + pixels
    loaded = images.read(content)
    assert not loaded.is_depth_cut
    np.testing.assert_allclose(images.to_pixels(loaded, (H, W)), np.moveaxis(U8, 2, 0), atol=8)
    gif = io.BytesIO()
    Image.fromarray(GRAY).save(gif, "GIF")
    assert not images.read(gif.getvalue()).is_depth_cut and check_equal(gif.getvalue(), GRAY[None].repeat(3, 0))
