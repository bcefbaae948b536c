"""Damaged files: the user sees messages of this package, and none of the libraries that read images."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from cfa_lite import ImageError
from cfa_lite.features import images, libtiff


@pytest.fixture(params=["tiff_lzw", "tiff_adobe_deflate"])
def damaged_tiff(request, tmp_path, rng):
    """A compressed TIFF file with wrong bytes in its data, not in its tags."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[278] = 64  # RowsPerStrip
    image = Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8))
    path = tmp_path / "damaged.tif"
    image.save(path, compression=request.param, tiffinfo=tags)
    with Image.open(path) as file:
        start, n = file.tag_v2[273][0], file.tag_v2[279][0]
    content = bytearray(path.read_bytes())
    content[start : start + n] = b"\xff" * n
    path.write_bytes(content)
    return path


def load_with_pillow(path):
    with Image.open(path) as image:
        try:
            image.load()
        except OSError:
            return "refused"
    return "read"


def test_libtiff_writes_nothing_to_stderr(damaged_tiff, capfd):
    load_with_pillow(damaged_tiff)
    written = capfd.readouterr().err  # what a user of Pillow alone would see
    if sys.platform.startswith("linux"):
        assert written
    try:
        images.read(damaged_tiff)
    except ImageError as error:
        assert "incomplete or damaged" in str(error)
    assert capfd.readouterr().err == ""
    load_with_pillow(damaged_tiff)  # other users of Pillow in the same program see what they saw before
    assert capfd.readouterr().err == written


def test_the_handler_of_libtiff_comes_back_when_threads_overlap(damaged_tiff, capfd):
    load_with_pillow(damaged_tiff)
    written = capfd.readouterr().err
    begun, may_end = threading.Event(), threading.Event()

    def other():
        with libtiff.quiet():
            begun.set()
            may_end.wait()

    thread = threading.Thread(target=other)
    with libtiff.quiet():
        thread.start()
        begun.wait()
    load_with_pillow(damaged_tiff)  # the other thread still reads
    may_end.set()
    thread.join()
    if written:
        assert capfd.readouterr().err == ""
    load_with_pillow(damaged_tiff)
    assert capfd.readouterr().err == written


def test_the_command_shows_its_own_messages_only(part, line, tmp_path):
    """Pillow warns of the first file, and logs an error about the second one."""
    Image.open(line[0]).convert("RGB").save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0garbage")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[277] = 10  # SamplesPerPixel
    Image.open(line[0]).save(tmp_path / "b.tif", tiffinfo=tags)
    content = (tmp_path / "b.tif").read_bytes()
    at = content.index(b"\x15\x01\x03\x00\x01\x00\x00\x00")
    (tmp_path / "b.tif").write_bytes(content[: at + 8] + b"\x0a\0\0\0" + content[at + 12 :])
    for flags, is_ours in (([], True), (["-c", "from PIL import Image; Image.open('b.tif')"], False)):
        command = flags or ["-m", "cfa_lite", "score", part, "."]
        done = subprocess.run([sys.executable, *map(str, command)], cwd=tmp_path, capture_output=True, text=True)
        assert ("samples per pixel" in done.stderr) != is_ours
    done = subprocess.run(
        [sys.executable, "-m", "cfa_lite", "score", str(part), "."], cwd=tmp_path, capture_output=True, text=True
    )
    assert [row.split()[0] for row in done.stdout.splitlines()][1] == "ERROR"
    lines = [row for row in done.stderr.splitlines() if not row.startswith(("starting", "inspecting"))]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("2 images:")
