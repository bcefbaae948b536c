"""Files that are still being written are an ERROR whose message says "incomplete"; whole ones are read."""

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_backbone
from PIL import Image
from test_cli import rows_of, run

from cfa_lite import CFA, ImageError, load
from cfa_lite.features import completeness, images
from cfa_lite.features.row_order import is_cut

SIZE_PX = (192, 160)


def photo(seed=3):
    """A soft color image with noise and without black pixels."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(40, 216, (20, 24, 3), np.uint8)).resize(SIZE_PX, Image.Resampling.BICUBIC)
    return np.clip(np.asarray(soft) + rng.integers(-6, 7, (160, 192, 3)), 1, 255).astype(np.uint8)


def with_black_rows(n=70):
    values = photo()
    values[-n:] = 0
    return values


def encoded(values, kind):
    """Return an image file of a kind, such as "PNG" or "TIFF tiff_lzw"."""
    name, *more = kind.split()
    options = {
        "progressive": {"progressive": True}, "optimized": {"optimize": True}, "lossless": {"lossless": True},
        "stored": {"compress_level": 0},
    }  # fmt: skip
    image = Image.fromarray(values)
    for option in more:
        image = image.convert(option) if option in ("L", "P", "1") else image
    settings = [options.get(option, {"compression": option}) for option in more if option not in ("L", "P", "1")]
    file = io.BytesIO()
    image.save(file, name, **{k: v for one in settings for k, v in one.items()})
    return file.getvalue()


KINDS = [
    "PNG", "PNG P", "PNG stored", "JPEG", "JPEG progressive", "JPEG optimized", "WEBP", "WEBP lossless", "GIF P", "BMP",
    "BMP L", "PPM", "PPM L", "TIFF", "TIFF L", "TIFF tiff_lzw", "TIFF tiff_adobe_deflate", "TIFF packbits", "TIFF jpeg",
    "TIFF group4 1", "TIFF L tiff_lzw",
]  # fmt: skip


def read(content):
    return np.stack([np.asarray(band) for band in images.read(content, "a.png", (0, 255)).bands])


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_incomplete(kind):
    content = encoded(photo(), kind)
    if kind[:3] not in ("TIF", "GIF"):  # whose last bytes may be about a further page
        with pytest.raises(ImageError, match="incomplete"):
            read(content[:-2])
    for n_bytes in [0, 100, *(len(content) * share // 100 for share in (1, 10, 37, 50, 73, 95))]:
        with pytest.raises(ImageError, match=r"^a\.png cannot be read as an image: it is incomplete"):
            read(content[:n_bytes])


@pytest.mark.parametrize("kind", KINDS)
def test_files_with_zeros_at_their_end_are_incomplete(kind):
    """The file has its final size, and also more than that, but its end is not written."""
    content = encoded(photo(), kind)
    for share in (0.13, 0.3729, 0.51234, 0.7345, 0.9101):
        for n_more in (0, 100_000):
            written = content[: int(len(content) * share)]
            with pytest.raises(ImageError, match=r"^a\.png cannot be read as an image: it is incomplete"):
                read(written.ljust(len(content) + n_more, b"\0"))
    with pytest.raises(ImageError, match=r"^a\.png cannot be read as an image: it is incomplete"):
        read(bytes(len(content)))


BLACK = [rows[::step] for rows in map(with_black_rows, (1, 70, 159, 160)) for step in (1, -1)]


@pytest.mark.parametrize("values", BLACK)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "JPEG" not in kind and kind != "WEBP"])
def test_whole_images_that_end_in_black_rows_are_read(values, kind):
    with Image.open(io.BytesIO(encoded(values, kind))) as opened:
        expected = np.moveaxis(np.asarray(opened.convert("RGB")), 2, 0)
    found = read(encoded(values, kind))
    np.testing.assert_array_equal(found, expected[: len(found)])
    np.testing.assert_array_equal(read(encoded(values, kind) + b"\0" * 600), found)  # zeros behind the image


@pytest.mark.parametrize("values", BLACK)
@pytest.mark.parametrize("kind", ["JPEG", "JPEG progressive", "JPEG optimized", "WEBP", "TIFF jpeg"])
def test_whole_lossy_images_that_end_in_black_rows_are_read(values, kind):
    found = read(encoded(values, kind))
    assert np.abs(found - np.moveaxis(values, 2, 0)).mean() < 12
    np.testing.assert_array_equal(read(encoded(values, kind) + b"\0" * 600), found)


def test_a_large_webp_may_end_with_many_zeros(rng):
    """Its black rows are encoded as zeros, fewer than the limit of their number."""
    values = np.zeros((480, 640, 3), np.uint8)
    values[:240] = rng.integers(0, 256, (240, 640, 3))
    content = encoded(values, "WEBP")
    assert content.endswith(bytes(40))
    assert read(content)[:, 260:].max() < 12
    with pytest.raises(ImageError, match="incomplete"):
        read(content[: len(content) // 2].ljust(len(content), b"\0"))


def test_files_of_tifffile_which_write_their_directory_first():
    tifffile = pytest.importorskip("tifffile", reason="writes TIFF files in many layouts")
    gray = photo()[:, :, 0]
    for values, settings in (
        (photo(), {"photometric": "rgb", "compression": "zlib"}),
        (photo(), {"photometric": "rgb", "compression": "zlib", "tile": (32, 32)}),
        (photo(), {"photometric": "rgb", "compression": "jpeg"}),
        (np.moveaxis(photo(), 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (gray, {"photometric": "minisblack", "compression": "lzw", "rowsperstrip": 16}),
        (gray, {"photometric": "minisblack", "tile": (32, 32)}),
        (gray, {"photometric": "minisblack", "bigtiff": True}),
        (gray, {"photometric": "miniswhite"}),
        (gray.astype(np.uint16) * 200, {"photometric": "minisblack"}),
        (gray.astype(np.float32), {"photometric": "minisblack", "byteorder": ">"}),
    ):
        for last in (160, 90):  # black rows are read
            rows = np.array(values)
            rows.swapaxes(0, rows.shape.index(160))[last:] = 0
            file = io.BytesIO()
            tifffile.imwrite(file, rows, **settings)
            assert images.read(file.getvalue(), "a", (0, 255)).size_px == (160, 192), settings
        file = io.BytesIO()
        tifffile.imwrite(file, values, **settings)
        content = file.getvalue()
        for share in (0.37211, 0.7345):
            written = content[: int(len(content) * share)]
            for cut in (written, written.ljust(len(content), b"\0")):
                with pytest.raises(ImageError, match="incomplete"):
                    read(cut)


def test_a_part_that_has_no_place_yet_is_missing():
    """A TIFF whose directory is written first may have an offset of 0 for a strip that follows later."""
    entries = [
        (256, 3, 96), (257, 3, 64), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 0), (277, 3, 1), (278, 3, 64),
        (279, 4, 96 * 64),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    content = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    with pytest.raises(ImageError, match="incomplete or damaged .a part of the image was not yet written"):
        read(content + b"\x80" * 96 * 64)


def test_run_lengths_of_bmp():
    """Zeros are ends of rows in this encoding, so that Pillow reads them as black rows."""
    rows = np.random.default_rng(4).integers(1, 250, (160, 48), np.uint8)
    runs = b"".join(b"".join(bytes((4, value)) for value in row) + b"\0\0" for row in rows) + b"\0\1"
    palette = b"".join(bytes((value, value, value, 0)) for value in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, 192, 160, 1, 8, 1, len(runs), 0, 0, 256, 0)
    content = b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + head + palette + runs
    np.testing.assert_array_equal(read(content)[0], rows[::-1].repeat(4, axis=1))
    for cut in (content[:9000], content[:9000].ljust(len(content), b"\0")):
        with pytest.raises(ImageError, match="incomplete"):
            read(cut)


def test_a_jpeg_with_a_thumbnail_needs_its_own_end():
    thumbnail = encoded(photo()[:32, :32], "JPEG")
    content = encoded(photo(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    whole = content[:2] + segment + content[2:]
    np.testing.assert_array_equal(read(whole), read(content))
    assert completeness.missing(whole + b"text behind the image") == ""
    assert "end of the JPEG" in completeness.missing(whole[:-200] + bytes(5000))


@pytest.mark.parametrize("black", [0, 255])
def test_rows_that_are_cut_differ_from_dark_ones(rng, black):
    """The image checks of uncompressed files look at pixels only."""

    def made(fill):
        values = rng.integers(60, 200, (100, 150)).astype(np.uint8)
        fill(values)
        return values

    def rectangle(values):
        values[60:], values[40:, 100:] = black, black

    def frame(values):
        values[90:], values[:, :5], values[:, 145:], values[:8] = (black,) * 4

    def corner(values):
        values[90:], values[89, -3:], values[88, -2:], values[87, -1:] = (black,) * 4
        values[89, :3], values[88, :2], values[87, :1] = (black,) * 3

    def tilted(values):
        for x in range(150):
            values[80 - x // 20 :, x] = black

    def fading(values):
        values[61:] = black
        values[60] = black + (values[60] - float(black)) * np.linspace(0.8, 0, 150).clip(0)

    for fill in (rectangle, frame, corner, tilted, fading, lambda values: values[70:].fill(black)):
        assert not is_cut(made(fill), black)

    def cut(values):
        values.ravel()[60 * 150 + 77 :] = black

    assert is_cut(made(cut), black)
    assert not is_cut(made(cut)[:61], black)  # not to be told from a dark edge


def test_a_file_that_grows_while_it_is_read_is_incomplete(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(photo(), "PNG"))
    load_pixels = Image.Image.load

    def grow(image):
        with path.open("ab") as file:
            file.write(b"\0")
        return load_pixels(image)

    assert images.read(path).size_px == (160, 192)
    monkeypatch.setattr(Image.Image, "load", grow)
    with pytest.raises(ImageError, match="incomplete or damaged .it changed while it was read"):
        images.read(path)


def test_pil_images_that_were_not_loaded_are_checked_and_keep_working():
    content = encoded(photo(), "PNG")
    with Image.open(io.BytesIO(content)) as whole:
        images.read(whole)
        images.read(whole)
    with (
        Image.open(io.BytesIO(content[:9000].ljust(len(content), b"\0"))) as cut,
        pytest.raises(ImageError, match="image 0 cannot be read as an image: it is incomplete"),
    ):
        images.read(cut, "image 0")


def test_files_that_are_no_images_are_not_called_incomplete():
    for content in (b"no image", b"%PDF-1.7 text", b"PK\x03\x04 zip"):
        with pytest.raises(ImageError, match=r"cannot be read as an image \(its content is of no supported format"):
            read(content)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    home = tmp_path_factory.mktemp("incomplete")
    tiny_backbone.write(home / "own.onnx")
    model = CFA("whitened", backbone=home / "own.onnx", n_centers=4, threads=1)
    model.fit([photo(seed) for seed in range(8)]).save(home / "part.cfa")
    return home / "part.cfa"


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("workers", [(), ("--workers", 2)])
def test_an_incomplete_image_is_an_error_and_is_taken_again_on_resume(part, tmp_path, ending, workers):
    if workers and ending == "jsonl":
        pytest.skip("one table is enough with workers")
    line, output = tmp_path / "line", tmp_path / f"rows.{ending}"
    line.mkdir()
    whole = {name: encoded(photo(seed), "PNG") for seed, name in enumerate(("a.png", "b.png", "c.png"))}
    for name, content in whole.items():
        (line / name).write_bytes(content if name != "b.png" else content[:9000].ljust(len(content), b"\0"))
    arguments = ("score", part, line, "--output", output, *workers)
    first = run(*arguments, "--report", tmp_path / "r.html")
    assert first.exit_code == 1
    (said,) = [text for text in first.stdout.splitlines() if "ERROR" in text]
    assert str(line / "b.png") in said and "incomplete" in said
    assert "incomplete" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert run(*arguments, "--fail-on-anomaly").exit_code == 4
    (line / "b.png").write_bytes(whole["b.png"])
    again = run(*arguments, "--resume", "--fail-on-anomaly")
    assert again.exit_code in (0, 3), again.output
    assert len(again.stdout.splitlines()) == 1 and str(line / "b.png") in again.stdout
    if ending == "csv":
        assert [row["status"] for row in rows_of(output)] == ["ok"] * 3


def test_fit_skips_an_incomplete_image_with_a_message(tmp_path, part):
    good = tmp_path / "good"
    good.mkdir()
    for seed in range(5):
        (good / f"{seed}.png").write_bytes(encoded(photo(seed), "PNG"))
    content = encoded(photo(9), "PNG")
    (good / "9.png").write_bytes(content[:9000].ljust(len(content), b"\0"))
    model = CFA("whitened", backbone=part.parent / "own.onnx", n_centers=4, threads=1).fit(good)
    assert [Path(one.name).name for one in model.skipped_] == ["9.png"]
    assert "incomplete" in model.skipped_[0].message
    assert len(list(load(part).inspect_many(good))) == 6


def test_the_check_costs_little_of_the_time_to_read(tmp_path):
    """It looks at the end of a file; a whole JPEG is not searched."""
    path = tmp_path / "a.jpg"
    big = np.tile(photo(), (8, 8, 1))
    Image.fromarray(big).save(path, quality=95)

    def seconds(call):
        best = np.inf
        for _ in range(5):
            start = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - start)
        return best

    def check():
        with Image.open(path) as opened:
            completeness.missing_of_image(opened)

    def only_open():
        Image.open(path).close()

    assert seconds(check) - seconds(only_open) < 0.05 * seconds(lambda: images.read(path))
