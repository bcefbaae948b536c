"""Large files: a limit of the package's own, no warnings of libraries, and no copies in memory."""

import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from test_cli import run

from cfa_lite import CFA, load
from cfa_lite.errors import ImageError
from cfa_lite.features import images, mask, size_limit
from cfa_lite.inference.scorer import Scorer

LIMIT = 1000  # pixels; Pillow warns above it and refuses an image of twice as many


@pytest.fixture
def strict_pillow(monkeypatch):
    """Pillow refuses all test images, and each of its warnings is an error."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", LIMIT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def strip(mode):
    values = np.add.outer(np.arange(200), np.arange(64)).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(values.astype(np.uint16) * 200)
    if mode == "F":
        return Image.fromarray(values.astype(np.float32))
    return Image.fromarray(np.stack([values, values.T.reshape(200, 64), 255 - values], 2)).convert(mode)


@pytest.mark.parametrize(
    ("mode", "file"),
    [("L", "a.png"), ("RGB", "a.png"), ("P", "a.png"), ("I;16", "a.png"), ("L", "a.jpg"), ("RGB", "a.webp"),
     ("RGB", "a.tif"), ("L", "a.bmp"), ("P", "a.gif"), ("CMYK", "a.jpg"), ("1", "a.png")],
)  # fmt: skip
def test_pillows_limit_does_not_apply(mode, file, tmp_path, strict_pillow):
    image = strip(mode)
    image.save(tmp_path / file)
    bands = images.read(tmp_path / file).bands
    assert bands[0].size == (64, 200)
    assert np.asarray(bands[0]).std() > 10
    assert Image.MAX_IMAGE_PIXELS == LIMIT
    assert images.size_of(tmp_path / file) == (200, 64)
    assert images.read(image).bands[0].size == (64, 200)


def test_a_tiff_of_one_compressed_strip(tmp_path, strict_pillow):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[278] = 200  # RowsPerStrip
    strip("L").save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo=tags)
    assert np.array_equal(np.asarray(images.read(tmp_path / "a.tif").bands[0]), np.asarray(strip("L")))


@pytest.mark.parametrize("suffix", [".tif", ".gif"])
def test_the_first_of_several_pages_is_kept(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    pages = [strip("L"), Image.fromarray(255 - np.asarray(strip("L"))), strip("L").rotate(180)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    found = images.read(path)
    assert found.n_pages == 3
    assert np.array_equal(np.asarray(found.bands[0].convert("L")), np.asarray(pages[0]))


def test_a_file_above_the_limit_is_refused_with_the_option_and_the_memory(tmp_path):
    path = tmp_path / "long.png"
    Image.new("RGB", (400, 2500)).save(path)
    with pytest.raises(ImageError) as refused:
        images.read(path, "long.png", None, 0.999)
    assert str(refused.value) == (
        "long.png has 1 megapixels (400x2500 px); at most 0.999 are read. Reading it takes about 0.0 GB of memory,"
        " for each image that is read at the same time. If there are as many, set --max-megapixels 1 (in Python"
        " max_megapixels=1). Otherwise cut the image into parts."
    )
    assert images.read(path, "long.png", None, 1.0).size_px == (2500, 400)
    with pytest.raises(ImageError, match="--max-megapixels 1 "):
        images.size_of(path, "long.png", 0.5)
    with pytest.raises(ImageError, match="--max-megapixels 1 "):
        mask.read(path, 0.5)


def test_the_limit_is_told_by_the_header(tmp_path):
    """A small file that would fill the memory is refused before its pixels are read."""
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 15_000)).save(path)  # 300 megapixels
    with pytest.raises(ImageError, match=r"300 megapixels \(20000x15000 px\); at most 200 .* 0\.6 GB"):
        images.read(path)


def test_the_advised_limit_suffices(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (1237, 1111)).save(path)  # 1.374307 megapixels
    with pytest.raises(ImageError, match=r"--max-megapixels 1\.4 "):
        images.read(path, "a.png", None, 1.3)
    assert images.read(path, "a.png", None, 1.4).size_px == (1111, 1237)


@pytest.mark.parametrize(
    ("mode", "suffix", "value_range", "low"),
    [("L", ".png", None, 1), ("RGB", ".png", None, 4), ("I;16", ".png", None, 6), ("RGB", ".png", (0.0, 9.0), 16)],
)
def test_the_memory_that_is_told_is_near_the_memory_that_is_taken(mode, suffix, value_range, low, tmp_path):
    if sys.platform != "linux":
        pytest.skip("measures Linux processes")
    path = tmp_path / f"a{suffix}"
    strip(mode).resize((4000, 6000)).save(path)
    code = (
        "import re; from pathlib import Path; from cfa_lite.features import images\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "before = peak()\n"
        f"images.read({str(path)!r}, value_range={value_range!r})\n"
        "print((peak() - before) * 1024 / 24e6)"
    )
    taken = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    with Image.open(path) as image:
        told = size_limit.bytes_per_px(image, value_range is not None)
    assert low <= taken + 0.5 and taken <= told + 1


def test_threads_put_pillows_limit_back(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", LIMIT)
    inside, leave = threading.Event(), threading.Event()

    def other():
        with size_limit.lifted():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with size_limit.lifted():
        assert Image.MAX_IMAGE_PIXELS is None
    assert Image.MAX_IMAGE_PIXELS is None  # the other thread still reads
    leave.set()
    thread.join(10)
    assert Image.MAX_IMAGE_PIXELS == LIMIT


def test_commands_have_the_option_and_the_model_keeps_it(good, tmp_path):
    part = tmp_path / "part.cfa"
    fit = ["fit", *map(str, good), "-o", str(part), "--preset", "fast"]
    refused = run(*fit, "--max-megapixels", "0.01")
    assert refused.exit_code == 1
    assert "0 of 16 images can be used" in refused.stderr and "--max-megapixels" in refused.stderr
    assert run(*fit, "--max-megapixels", "0.5").exit_code == 0
    assert load(part).max_megapixels == 0.5
    rows = run("score", str(part), str(good[0]), "--max-megapixels", "0.01", "--fail-on-anomaly")
    assert rows.exit_code == 4
    assert rows.stdout.startswith("ERROR") and "--max-megapixels" in rows.stdout
    assert run("score", str(part), str(good[0])).exit_code == 0
    refused = run("calibrate", str(part), str(good[0]), "--max-megapixels", "0.01")
    assert refused.exit_code == 1 and "--max-megapixels" in refused.stderr


def test_warnings_of_pillow_are_not_shown(part, good, tmp_path):
    odd, large = tmp_path / "odd.tif", tmp_path / "large.png"
    with Image.open(good[0]) as image:
        image.save(odd)
    odd.write_bytes(odd.read_bytes()[:100])  # its tags are at the start
    with pytest.warns(UserWarning, match="EXIF|Truncated"), pytest.raises(ImageError):
        images.read(odd)
    Image.new("L", (10_000, 9_000)).save(large)  # 90 megapixels
    command = "import warnings; warnings.simplefilter('always'); from cfa_lite.commands.main import main; main()"
    done = subprocess.run([sys.executable, "-c", command, "score", part, odd, large], capture_output=True, text=True)
    assert done.stdout.count("odd.tif") == done.stdout.count("large.png") == 1
    assert "Warning" not in done.stderr


def test_an_image_that_does_not_fit_into_the_memory_is_an_error(model, good, monkeypatch):
    scored = Scorer.scored

    def too_large(self, pixels, *others):
        if pixels.shape[1] > pixels.shape[2]:
            raise MemoryError
        return scored(self, pixels, *others)

    monkeypatch.setattr(Scorer, "scored", too_large)
    tall = np.asarray(Image.open(good[1]).resize((200, 256)))
    results = list(CFA.inspect_many(model, [good[0], tall, good[1]]))
    assert [result.status for result in results] == ["ok", "error", "ok"]
    assert "memory of this computer is too small" in results[1].message
